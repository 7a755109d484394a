# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as a table or as JSON, and what the run as a whole ends with."""
import json


def verdict(result):
    if "failed" in result:
        return "not measured"
    worse = (lambda a, b: a > b) if result["less_is_better"] else (lambda a, b: a < b)
    if worse(result["ratio"], result["bar"]):
        return "BELOW BAR"
    return "bar" if worse(result["ratio"], result["aim"]) else "aim"


def brief(number):
    if number is None:
        return "-"
    return f"{number:.0f}" if number >= 1000 else f"{number:.3g}"


def table(results):
    head = ("figure", "ours", "peer", "unit", "value", "bar", "aim", "meets")
    lines = [head]
    for result in results:
        if "failed" in result:
            lines.append((result["figure"], "-", "-", "", "-", "", "", "not measured: " + result["failed"]))
            continue
        lines.append((result["figure"], brief(result["ours"]), brief(result["peer"]), result["unit"],
                      brief(result["ratio"]), brief(result["bar"]), brief(result["aim"]), verdict(result)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)) + "  " + line[-1])
        if number and "failed" not in results[number - 1]:
            print("    " + results[number - 1]["note"])


def tell(results, as_json):
    """Prints the results; the exit status: 1 where one could not be measured, 2 where one is below its bar."""
    if as_json:
        print(json.dumps([{**result, "meets": verdict(result)} for result in results], indent=1))
    else:
        table(results)
    if any("failed" in result for result in results):
        return 1
    return 2 if any(verdict(result) == "BELOW BAR" for result in results) else 0
