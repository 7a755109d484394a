# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rows measure with: temporary folders, mounts, programs, medians of interleaved runs."""
import os
import shutil
import statistics
import subprocess
import tempfile
import time

MIB = 1 << 20
FUSE_EXAMPLE = "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c"


class Missing(Exception):
    """A row can't be measured here; the text says why."""


def call(command, timeout=600, **more):
    """Runs a program; its standard output. Raises Missing with its last words when it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              text=True, timeout=timeout, check=False, **more)
    except FileNotFoundError as error:
        raise Missing(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{os.path.basename(command[0])} took longer than {timeout} s") from error
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise Missing(f"{os.path.basename(command[0])} {command[1] if len(command) > 1 else ''}: {words}")
    return done.stdout


class Mount:
    """A FUSE filesystem in the foreground, up when the constructor returns; close unmounts it."""

    def __init__(self, command, where, log):
        self.where = where
        with open(log, "a", encoding="utf-8") as words:
            self.process = subprocess.Popen(command, stdout=words, stderr=words, stdin=subprocess.DEVNULL)
        limit = time.monotonic() + 20
        while not os.path.ismount(where):
            if self.process.poll() is not None or time.monotonic() > limit:
                self.process.kill()
                with open(log, encoding="utf-8") as words:
                    last = (words.read().strip() or "no word").splitlines()[-1]
                raise Missing(f"{os.path.basename(command[0])} does not mount: {last}")
            time.sleep(0.001)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def path(self, *names):
        return os.path.join(self.where, *names)

    def stat(self, device="npu0"):
        """The numbers of memory.stat."""
        with open(self.path(".dmo", "devices", device, "memory.stat"), encoding="utf-8") as lines:
            return {name: int(number) for name, number in (line.split()[:2] for line in lines)}

    def close(self):
        for _ in range(50):
            if subprocess.run(["umount", self.where], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", self.where], check=False)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    """One run of the whole: where things are, how often to repeat."""

    def __init__(self, build, rounds, disk):
        self.build = os.path.abspath(build)
        self.rounds = rounds
        self.memory = tempfile.mkdtemp(prefix="dmofs-bench.", dir="/dev/shm")
        self.disk = tempfile.mkdtemp(prefix="dmofs-bench.", dir=disk)
        self.mount_point = os.path.join(self.disk, "mnt")
        self.log = os.path.join(self.disk, "log")
        os.mkdir(self.mount_point)
        self.peer = None

    def close(self):
        if os.path.ismount(self.mount_point):
            subprocess.run(["umount", "-l", self.mount_point], check=False)
        shutil.rmtree(self.memory, ignore_errors=True)
        shutil.rmtree(self.disk, ignore_errors=True)

    def tool(self, name):
        return os.path.join(self.build, "bench", name)

    def number(self, name, *arguments):
        """The number that one of our measuring programs prints."""
        return float(call([self.tool(name), *map(str, arguments)]))

    def file(self, name, size, folder=None):
        """A file of size bytes that don't repeat soon, made once; its path."""
        path = os.path.join(folder or self.memory, name)
        if not os.path.exists(path) or os.path.getsize(path) != size:
            with open(path, "wb") as out:
                chunk = os.urandom(4 * MIB)
                for _ in range(size // len(chunk)):
                    out.write(chunk)
        return path

    def dmofs(self, store=None, device="memory=1G", options=()):
        command = [os.path.join(self.build, "fuse", "dmofs"), "-f", *options, store or self.memory, self.mount_point,
                   "--device", f"sim:npu0,{device}"]
        return Mount(command, self.mount_point, self.log)

    def passthrough_ll(self, store=None):
        """libfuse's example as Debian ships it, compiled here, with its cache always on."""
        if not self.peer:
            if not os.path.exists(FUSE_EXAMPLE):
                raise Missing(f"{FUSE_EXAMPLE} is missing: install libfuse3-dev with its documentation")
            peer = os.path.join(self.disk, "passthrough_ll")
            flags = call(["pkg-config", "--cflags", "--libs", "fuse3"]).split()
            call(["cc", "-O2", "-o", peer, FUSE_EXAMPLE, *flags])
            self.peer = peer
        options = f"source={store or self.memory},cache=always"
        return Mount([self.peer, "-f", "-o", options, self.mount_point], self.mount_point, self.log)

    @staticmethod
    def samples(rounds, ways):
        """Each way (a function that gives a number) run in turn, so often: a list of numbers for each."""
        samples = [[] for _ in ways]
        for _ in range(rounds):
            for way, sample in zip(ways, samples):
                sample.append(way())
        return samples

    def medians(self, *ways):
        """The median of each way's runs, which are made in turn."""
        return [statistics.median(sample) for sample in self.samples(self.rounds, ways)]

    def least(self, *ways):
        """The least of each way's runs, of which there are three times as many: for times that are the same work on
        both sides, where what differs is what else the machine did."""
        return [min(sample) for sample in self.samples(3 * self.rounds, ways)]


def forget(path):
    """Writes the file back and drops its pages from the page cache."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
