# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows that measure the mount and the core: each gives one or more dictionaries for the table."""
import json
import os
import subprocess
import time

from measure import MIB, Missing, call, forget


def row(figure, ours, peer, unit, ratio, bar, aim, note, less=False):
    return {"figure": figure, "ours": ours, "peer": peer, "unit": unit, "ratio": ratio, "bar": bar, "aim": aim,
            "less_is_better": less, "note": note}


def prefetch(bench):
    size = 512 * MIB
    path = bench.file("half", size)
    with bench.dmofs() as mount:
        on_mount = mount.path("half")
        bench.number("move", "prefetch", on_mount, 0)

        def ours():
            bench.number("move", "evict", on_mount)
            return bench.number("move", "prefetch", on_mount, 0)

        mine, peer = bench.medians(ours, lambda: bench.number("move", "memcpy", path))
    yield row("prefetch of 512 MiB to device memory, bytes/s over memcpy's", size / mine / 1e9, size / peer / 1e9,
              "GB/s", peer / mine, 0.6, 0.95, "bound: one copy from the page cache (bandwidth)")


def cold_read(bench):
    size = 1024 * MIB
    bench.file("whole", size)

    def once(mounting):
        with mounting() as mount:
            return bench.number("walk", "read", mount.path("whole"))

    mine, peer = bench.medians(lambda: once(bench.dmofs), lambda: once(bench.passthrough_ll))
    store = bench.number("walk", "read", os.path.join(bench.memory, "whole"))
    os.unlink(os.path.join(bench.memory, "whole"))
    yield row("cold sequential mmap read of 1 GiB, time over passthrough_ll's", mine, peer, "s", mine / peer, 0.7, 0.25,
              f"bound: READ requests and their copies; {mine / (size / 4096) * 1e6:.2f} us a page, "
              f"the store itself takes {store:.3f} s", less=True)


def files(bench):
    count = 3000
    folder = os.path.join(bench.memory, "lives")
    os.makedirs(folder, exist_ok=True)

    def once(mounting):
        with mounting() as mount:
            return bench.number("files", "lives", mount.path("lives"), count)

    mine, peer = bench.medians(lambda: once(bench.dmofs), lambda: once(bench.passthrough_ll))
    yield row("create, open, close, unlink: time over passthrough_ll's", mine / count * 1e6, peer / count * 1e6,
              "us a file", mine / peer, 1.0, 0.8, "bound: the requests' round trips to the service", less=True)


def random_io(bench):
    count = 20000
    bench.file("random", 256 * MIB)

    def once(mounting, mode):
        with mounting() as mount:
            return bench.number("walk", mode, mount.path("random"), count)

    for mode, words in (("random-read", "random 4 KiB read, cold"), ("random-write", "random 4 KiB write")):
        mine, peer = bench.medians(lambda: once(bench.dmofs, mode), lambda: once(bench.passthrough_ll, mode))
        yield row(f"{words}: time over passthrough_ll's", mine / count * 1e6, peer / count * 1e6, "us a call",
                  mine / peer, 1.0, 0.8, "bound: a round trip to the service each", less=True)


def turns(bench):
    bench.file("page", 4096 * 1024)
    with bench.dmofs() as mount:
        context = mount.path(".dmo", "devices", "npu0", "context")
        before = mount.stat()
        mine, peer = bench.medians(lambda: bench.number("turns", "device", mount.path("page"), context, 500),
                                   lambda: bench.number("turns", "pipes", 20000))
        after = mount.stat()
    changed = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    rounds = 500 * bench.rounds
    counts = ", ".join(f"{number / rounds:.1f} {name}" for name, number in changed.items() if number >= rounds / 2
                       and "time" not in name and "ns" not in name and "byte" not in name)
    yield row("CPU and device taking turns on one page: rounds/s over two pipes'", mine, peer, "rounds/s", mine / peer,
              0.06, 0.2, f"bound: revocations and faults, {1e6 / mine:.0f} us a round" + (f"; each: {counts}" if counts
                                                                                        else ""))


def fio(bench, path, direction, size):
    """Bytes a second of fio's io_uring engine, O_DIRECT, 2 MiB blocks."""
    words = call(["fio", "--name=peer", f"--filename={path}", "--ioengine=io_uring", "--direct=1", "--bs=2M",
                  "--iodepth=8", f"--rw={direction}", f"--size={size}", "--output-format=json", "--fallocate=none",
                  "--overwrite=1"])
    return json.loads(words[words.index("{"):])["jobs"][0][direction]["bw_bytes"]


def eviction(bench):
    size = 512 * MIB
    store = os.path.join(bench.disk, "store")
    os.makedirs(store, exist_ok=True)
    path = bench.file("evicted", size, store)
    other = bench.file("fio", size, bench.disk)
    forget(other)
    times = {"out": [], "in": []}
    with bench.dmofs(store, options=("-o", "io=direct")) as mount:
        on_mount, context = mount.path("evicted"), mount.path(".dmo", "devices", "npu0", "context")

        def ours():
            byte = len(times["out"]) + 1
            bench.number("move", "fill", on_mount, context, byte)
            out = bench.number("move", "evict", on_mount)
            forget(path)
            back = bench.number("move", "prefetch", on_mount, 0)
            times["out"].append(out)
            times["in"].append(back)
            return out + back

        def peer():
            return size / fio(bench, other, "write", size) + size / fio(bench, other, "read", size)

        mine, theirs = bench.medians(ours, peer)
    with open(path, "rb") as written:
        if written.read(4096) != bytes([bench.rounds]) * 4096:
            raise Missing("what was evicted is not in the store")
    out, back = (sorted(times[way])[len(times[way]) // 2] for way in ("out", "in"))
    yield row("eviction of 512 MiB to a file on disk and back, over fio (io_uring, O_DIRECT)", 2 * size / mine / 1e9,
              2 * size / theirs / 1e9, "GB/s", theirs / mine, 0.7, 0.95,
              f"bound: the disk; out {size / out / 1e9:.2f}, back {size / back / 1e9:.2f} GB/s")


def passthrough(bench):
    size = 512 * MIB
    path = bench.file("half", size)
    with bench.dmofs(options=("-o", "passthrough")) as mount:
        on_mount = mount.path("half")
        mine, peer = bench.least(lambda: bench.number("walk", "fault", on_mount),
                                 lambda: bench.number("walk", "fault", path))
    pages = size / 4096
    yield row("passthrough mode: mmap fault, time over the store's", mine / pages * 1e9, peer / pages * 1e9, "ns a page",
              mine / peer, 1.05, 1.0, "bound: the page cache's own faults", less=True)


def warm(bench):
    size = 256 * MIB
    path = bench.file("random", size)
    with bench.dmofs() as mount:
        mine, peer = bench.least(lambda: bench.number("walk", "warm", mount.path("random")),
                                 lambda: bench.number("walk", "warm", path))
    pages = size / 4096
    yield row("coherent mode: warm mmap access, time over the store's", mine / pages * 1e9, peer / pages * 1e9,
              "ns a page", mine / peer, 1.05, 1.0, "bound: memory and TLB; no request", less=True)


def ready(bench):
    def once():
        command = [os.path.join(bench.build, "fuse", "dmofs"), bench.memory, bench.mount_point, "--device",
                   "sim:npu0,memory=32M"]
        start = time.monotonic()
        with open(bench.log, "a", encoding="utf-8") as words:
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, check=False).returncode:
                raise Missing("dmofs does not mount")
        os.stat(os.path.join(bench.mount_point, ".dmo", "info"))
        took = time.monotonic() - start
        for _ in range(50):
            if subprocess.run(["umount", bench.mount_point], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.05)
        return took * 1e3

    def peer():
        start = time.monotonic()
        with bench.passthrough_ll():
            return (time.monotonic() - start) * 1e3

    mine, theirs = bench.medians(once, peer)
    yield row("mount to ready", mine, theirs, "ms", mine, 100, 30,
              "bound: process start and INIT; peer: passthrough_ll in the foreground", less=True)


def core(bench):
    figures = json.loads(call([bench.tool("core")]))
    runs = [figures] + [json.loads(call([bench.tool("core")])) for _ in range(min(bench.rounds, 3) - 1)]

    def median(name):
        return sorted(run[name] for run in runs)[len(runs) // 2]

    common, worst = figures["metadata_bytes_per_page"], figures["metadata_worst_bytes_per_page"]
    yield row("core: metadata per 4 KiB of device memory, 2 MiB chunks", common, worst, "B", common, 1.0, 0.5,
              "peer: the worst case, scattered 4 KiB chunks; struct page takes 64 B", less=True)
    for name, words, bar, aim, note in (
            ("buddy_2m_alloc_free_mops", "buddy alloc+free", 10, 50, "2 MiB chunks, three quarters full; worst "
             f"{median('buddy_2m_alloc_free_worst_mops'):.1f}"),
            ("attribute_set_mops", "attribute set", 1, 10, "a thousand ranges"),
            ("residency_lookup_mops", "residency lookup", 10, 50, f"attributes: {median('attribute_get_mops'):.1f}; "
             f"addresses among a thousand scattered pages: {median('scattered_1000_find_mops'):.1f}, among 65536: "
             f"{median('scattered_65536_find_mops'):.1f}"),
            ("sequential_map_mops", "page-wise map", 1, 10, "in order; unmap and map among a thousand scattered: "
             f"{median('scattered_1000_map_unmap_mops'):.2f}, 65536: {median('scattered_65536_map_unmap_mops'):.2f}")):
        yield row(f"core: {words}, millions a second", median(name), None, "M/s", median(name), bar, aim,
                  "bound: cache misses; " + note)


ROWS = {"core": core, "prefetch": prefetch, "cold-read": cold_read, "files": files, "random": random_io, "turns": turns,
        "eviction": eviction, "passthrough": passthrough, "warm": warm, "ready": ready}
