# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of the language model: GPT-2 small from one file, on devices and on the CPU."""
import json
import os
import statistics

from measure import Missing, call
from rows import row

TOKENS = 64  # the first few pay for mapping what stays in the file
SMALL = 32 << 20
LINK = 4 << 30


def gpt2(bench, *options):
    words = call([os.path.join(bench.build, "examples", "gpt2", "gpt2"), "--json", "--quiet", *options])
    return json.loads(words)


def weights(bench):
    """The folder with the model in it, written once."""
    store = os.path.join(bench.memory, "model")
    if not os.path.exists(store):
        os.mkdir(store)
        call([os.path.join(bench.build, "examples", "gpt2", "gpt2"), "--quiet", "--write",
              os.path.join(store, "model.safetensors")])
    return store


def on_device(bench, device, *options):
    """Mounts with one device and generates there; gpt2's report."""
    store = weights(bench)
    with bench.dmofs(store, device) as mount:
        return gpt2(bench, "--mount", mount.where, "--weights", mount.path("model.safetensors"), "--tokens",
                    str(TOKENS), *options)


def on_cpu(bench, threads):
    return gpt2(bench, "--cpu", "--weights", os.path.join(weights(bench), "model.safetensors"), "--tokens", str(TOKENS),
                "--threads", str(threads))


def rate(runs):
    return statistics.median(run["tokens_per_second"] for run in runs)


def waited(runs):
    return statistics.median(run["waited_share"] for run in runs)


def model(bench):
    small, large, linked, plain = [], [], [], []
    for _ in range(min(bench.rounds, 3)):
        small.append(on_device(bench, f"memory={SMALL}"))
        large.append(on_device(bench, "memory=640M", "--prefetch"))
        linked.append(on_device(bench, f"memory={SMALL},link=4G"))
        plain.append(on_cpu(bench, large[0]["threads"]))
    if len({tuple(run["tokens"]) for run in small + large + linked + plain}) != 1:
        raise Missing("the runs gave different tokens")
    need = small[0]["bytes_per_token"]
    ideal = LINK / (need - SMALL)
    yield row("GPT-2 tokens/s, 15.6 times oversubscribed, over all weights on the device", rate(small), rate(large),
              "tokens/s", rate(small) / rate(large), 0.5, 0.9,
              f"bound: copies of {need / 1e6:.0f} MB a token; the device waited {100 * waited(small):.0f} %")
    yield row("GPT-2 with link=4G, over (weights - device memory) / link", rate(linked), ideal, "tokens/s",
              rate(linked) / ideal, 0.7, 0.97, f"bound: the link; the device waited {100 * waited(linked):.0f} %")
    yield row("GPT-2 all resident, over the CPU's own code with as many threads", rate(large), rate(plain), "tokens/s",
              rate(large) / rate(plain), 0.9, 1.0,
              f"bound: memory bandwidth, {rate(large) * need / 1e9:.1f} GB/s of weights")


ROWS = {"model": model}
