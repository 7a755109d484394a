# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds the logits of examples/gpt2 against GPT-2 written once more, in numpy, in double precision.

usage: gpt2_numpy.py PROGRAM SCRATCH_DIRECTORY [MOUNT DEVICE]

Without a mount the CPU path is tested; with one, the same models on that device.
"""
import json
import struct
import subprocess
import sys

import numpy as np

PROGRAM, SCRATCH = sys.argv[1:3]
MOUNT = sys.argv[3] if len(sys.argv) > 3 else None
WHERE = ("--mount", MOUNT, "--device", sys.argv[4]) if MOUNT else ("--cpu",)
TOLERANCE = 1e-4


def load(path):
    """A file's header and its F32 tensors, by name, in double precision."""
    with open(path, "rb") as f:
        raw = f.read()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    data = raw[8 + length:]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        first, last = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[first:last], "<f4").reshape(entry["shape"]).astype(np.float64)
    return header, tensors


def save(path, tensors, metadata=None, pad=0):
    """Writes (name, dtype, array) rows; the header's length is made to leave pad when divided by 4."""
    header, blobs, at = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, array in tensors:
        blob = array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    while len(text) % 4 != pad:
        text += b" "
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def norm(x, gain, bias):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * gain + bias


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def attention(x, weights, heads):
    """All positions at once with a causal mask; the program goes position by position."""
    count, width = x.shape
    qkv = x @ weights("attn.c_attn.weight") + weights("attn.c_attn.bias")
    q, k, v = (part.reshape(count, heads, -1).transpose(1, 0, 2) for part in np.split(qkv, 3, axis=1))
    score = q @ k.transpose(0, 2, 1) / np.sqrt(width // heads)
    score = np.where(np.tril(np.ones((count, count), bool)), score, -np.inf)
    score = np.exp(score - score.max(-1, keepdims=True))
    score /= score.sum(-1, keepdims=True)
    mixed = (score @ v).transpose(1, 0, 2).reshape(count, width)
    return mixed @ weights("attn.c_proj.weight") + weights("attn.c_proj.bias")


def logits(tensors, tokens, heads):
    x = tensors["wte.weight"][tokens] + tensors["wpe.weight"][:len(tokens)]
    layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("h."))
    for layer in range(layers):
        def weights(name):
            return tensors[f"h.{layer}.{name}"]
        x = x + attention(norm(x, weights("ln_1.weight"), weights("ln_1.bias")), weights, heads)
        inner = gelu(norm(x, weights("ln_2.weight"), weights("ln_2.bias")) @ weights("mlp.c_fc.weight")
                     + weights("mlp.c_fc.bias"))
        x = x + inner @ weights("mlp.c_proj.weight") + weights("mlp.c_proj.bias")
    return norm(x, tensors["ln_f.weight"], tensors["ln_f.bias"]) @ tensors["wte.weight"].T


def run(path, prompt, count, *more):
    """The program's token ids and logits, position by position."""
    out = SCRATCH + "/logits"
    text = subprocess.run([PROGRAM, "--weights", path, "--quiet", "--json", "--ids", ",".join(map(str, prompt)),
                           "--tokens", str(count), "--logits", out, *WHERE, *more],
                          check=True, stdout=subprocess.PIPE).stdout
    return json.loads(text)["tokens"], np.fromfile(out, "<f4").reshape(len(prompt) + count - 1, -1)


def compare(what, path, heads, prompt, count, *more):
    generated, got = run(path, prompt, count, *more)
    tokens = prompt + generated
    _, tensors = load(path)
    tensors = {name.removeprefix("transformer."): t for name, t in tensors.items()}
    want = logits(tensors, tokens[:-1], heads)
    worst = np.abs(want - got).max()
    print(f"{what}: {len(want)} positions, largest difference {worst:.2e}, largest logit {np.abs(want).max():.2f}")
    assert worst < TOLERANCE, what
    assert list(want.argmax(-1)[len(prompt) - 1:]) == generated, what + ": tokens"
    assert len(set(generated)) > 1, what + ": one token over and over proves little"
    return got


def write(name, shape, seed):
    path = f"{MOUNT or SCRATCH}/{name}.safetensors"
    subprocess.run([PROGRAM, "--quiet", "--write", path, "--shape", shape, "--seed", str(seed)], check=True)
    return path


def as_published(path):
    """The same model as the published file has it: other order, prefix, mask buffers, a header of odd length."""
    header, tensors = load(path)
    rows = []
    for name in sorted(tensors):
        rows.append(("transformer." + name, "F32", tensors[name].astype("<f4")))
        if name.endswith("ln_1.weight"):
            mask = name.replace("ln_1.weight", "attn.bias")
            rows.append(("transformer." + mask, "F32", np.tril(np.ones((1, 1, 8, 8), "<f4"))))
    rows.append(("extra", "U8", np.arange(7, dtype="u1")))
    out = path + ".published"
    save(out, rows, header["__metadata__"], pad=3)
    return out


def prompt_is_encoded():
    """--prompt with a vocabulary runs as --ids with the ids that its merges give."""
    path = write("text", "1,32,2,300,32", 5)
    plain = [c for c in range(33, 127)] + [c for c in range(161, 256) if c != 173]
    others = [c for c in range(256) if c not in plain]
    char = {c: chr(c) for c in plain} | {c: chr(256 + i) for i, c in enumerate(others)}
    vocab = {char[c]: c for c in range(256)} | {"he": 256, "ll": 257, "hell": 258, char[32] + "w": 259}
    with open(SCRATCH + "/vocab.json", "w", encoding="utf-8") as f:
        json.dump(vocab, f)
    with open(SCRATCH + "/merges.txt", "w", encoding="utf-8") as f:
        f.write(f"#version: 0.2\nh e\nl l\nhe ll\n{char[32]} w\n")
    text = subprocess.run([PROGRAM, *WHERE, "--weights", path, "--quiet", "--json", "--tokens", "6",
                           "--vocab", SCRATCH, "--prompt", "hello wo"], check=True, stdout=subprocess.PIPE)
    by_ids, _ = run(path, [258, ord("o"), 259, ord("o")], 6)
    assert json.loads(text.stdout)["tokens"] == by_ids, "--prompt and --ids"


def on_cpu(small, odd, prompt):
    one = compare("2 layers, width 64", small, 4, prompt, 20, "--threads", "1")
    three = compare("the same with 3 threads", small, 4, prompt, 20, "--threads", "3")
    assert np.array_equal(one, three), "the number of threads changed the result"
    compare("sizes that fill no vector", odd, 3, prompt, 30, "--threads", "2")
    published = compare("names and order as published", as_published(small), 4, prompt, 20)
    assert np.array_equal(one, published), "the file's layout changed the result"
    prompt_is_encoded()


def on_device(small, odd, prompt):
    compare("2 layers, width 64", small, 4, prompt, 20)
    compare("sizes that fill no vector", odd, 3, prompt, 30)
    compare("names and order as published", as_published(small), 4, prompt, 20)
    large = write("large", "4,384,6,3000,64", 11)
    compare("33 MB of weights", large, 6, prompt, 12)
    subprocess.run([PROGRAM, "--weights", large, "--quiet", "--tokens", "40", *WHERE, "--compare"], check=True)


def main():
    prompt = [1, 5, 9, 2, 60]
    small = write("small", "2,64,4,97,32", 7)
    odd = write("odd", "3,54,3,101,40", 3)
    (on_device if MOUNT else on_cpu)(small, odd, prompt)


main()
