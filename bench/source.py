# SPDX-License-Identifier: GPL-2.0-or-later
"""What a C file takes: its lines, and the calls of others' functions in them."""
import re

NO_CALLS = {"if", "for", "while", "switch", "return", "sizeof", "container_of"}


def lines(text):
    """Lines without comments and blank ones."""
    text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.DOTALL)
    return [line for line in re.sub(r"//.*", "", text).splitlines() if line.strip()]


def calls(code):
    """Names of functions that lines call, each as often as it is called: no macros in capitals, none of the file's own."""
    own = {name for line in code for name in re.findall(r"^[a-z].*?\b(\w+)\(", line)}
    named = [name for line in code for name in re.findall(r"\b([a-z]\w*)\(", line)]
    return [name for name in named if name not in own | NO_CALLS]
