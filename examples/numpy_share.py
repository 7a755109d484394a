#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares a numpy.memmap with a device and with a second process, with no binding at all.

    numpy_share.py DIRECTORY [DEVICE]

DIRECTORY is on a dmofs mount. The owner makes two arrays in a file and lets the device compute y += 3 x on them;
then it sends the file's descriptor to a guest, another Python process, which sees the result, lets the
device double it from a context of its own, and writes an element itself. Only struct, fcntl.ioctl, os and socket are
used: the requests are those of ioctl_dmo(2). Exit status: 0, or 1 and a line that says what went wrong.
"""
import fcntl
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile

import numpy

COUNT = 1 << 18  # elements of each array: 1 MiB
BYTES = 4 * COUNT

# _IOC() of the kernel's headers, for the requests that are needed.
READ, WRITE = 2, 1


def request(direction, number, size):
    return direction << 30 | size << 16 | 0xDA << 8 | number


IOC_KEY = request(READ, 3, 16)
IOC_MAP_1 = request(READ | WRITE, 16, 16 + 48)

PROT_READ_WRITE = 3
OP_AXPY = 7


def check(right, what):
    if not right:
        sys.exit(f"wrong: {what}")
    print(f"  {what}", flush=True)


class Context:
    """A device address space: an open context file."""

    def __init__(self, control, device):
        self.fd = os.open(f"{control}/devices/{device}/context", os.O_RDWR | os.O_CLOEXEC)

    def map(self, fd, length):
        """Maps a whole open file; its device address."""
        key = bytearray(16)
        fcntl.ioctl(fd, IOC_KEY, key)
        (number,) = struct.unpack_from("=Q", key)
        # struct dmo_map with one struct dmo_map_op: va, length, key, offset, prot, flags, bits
        batch = bytearray(struct.pack("=IIQQQQQIIQ", 1, 0, 0, 0, length, number, 0, PROT_READ_WRITE, 0, 0))
        fcntl.ioctl(self.fd, IOC_MAP_1, batch)
        return struct.unpack_from("=Q", batch, 16)[0]

    def run(self, op, *args):
        """Runs one command and waits for it."""
        args = args + (0,) * (14 - len(args))
        os.write(self.fd, struct.pack("=QII14Q", 1, op, 0, *args))
        status = struct.unpack_from("=Qi", os.read(self.fd, 64))[1]
        if status:
            raise OSError(-status, os.strerror(-status))


def float_bits(value):
    return struct.unpack("=I", struct.pack("=f", value))[0]


def guest(sock_fd, control, device):
    """The second process: it knows the socket and the control directory, not the file's name."""
    with socket.socket(fileno=sock_fd) as sock:
        _, fds, _, _ = socket.recv_fds(sock, 1, 1)
        with mmap.mmap(fds[0], 2 * BYTES) as memory:
            both = numpy.frombuffer(memory, dtype=numpy.float32)
            y = both[:COUNT]
            print("guest: has the descriptor", flush=True)
            check(y[10] == 31.0 and y[-1] == 1 + 3.0 * ((COUNT - 1) % 1000), "the guest sees what the device computed")
            context = Context(control, device)
            va = context.map(fds[0], 2 * BYTES)
            # y is added to a copy of itself: x is overwritten by the CPU first.
            both[COUNT:] = y
            context.run(OP_AXPY, va, va + BYTES, COUNT, float_bits(1.0))
            check(y[10] == 62.0, "the guest sees the device's doubling")
            y[0] = -7.0
            sock.sendall(b"D")
            del both, y
    return 0


def owner(directory, device):
    control = f"{directory}/.dmo"
    parent = os.path.abspath(directory)
    while not os.path.isdir(control) and parent != "/":
        parent = os.path.dirname(parent)
        control = f"{parent}/.dmo"
    with tempfile.TemporaryFile(dir=directory) as file:
        file.truncate(2 * BYTES)
        both = numpy.memmap(file, dtype=numpy.float32, mode="r+", shape=(2, COUNT))
        y, x = both[0], both[1]
        y[:] = 1
        x[:] = numpy.arange(COUNT, dtype=numpy.float32) % 1000
        context = Context(control, device)
        va = context.map(file.fileno(), 2 * BYTES)
        print(f"owner: two arrays of {COUNT} floats, at {va:#x} for {device}", flush=True)
        context.run(OP_AXPY, va, va + BYTES, COUNT, float_bits(3.0))
        expected = 1 + 3 * (numpy.arange(COUNT, dtype=numpy.float32) % 1000)
        check(numpy.array_equal(y, expected), "numpy sees y += 3 x in every element")

        mine, theirs = socket.socketpair()
        command = [sys.executable, __file__, "--guest", str(theirs.fileno()), control, device]
        with mine, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
            theirs.close()
            socket.send_fds(mine, [b"F"], [file.fileno()])
            if mine.recv(1) != b"D" or process.wait() != 0:
                sys.exit("wrong: the guest failed")
        expected = 2 * expected
        expected[0] = -7.0
        check(numpy.array_equal(y, expected), "the owner sees the doubling and the guest's element")
    print("all elements right")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "--guest":
        sys.exit(guest(int(sys.argv[2]), sys.argv[3], sys.argv[4]))
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: numpy_share.py DIRECTORY [DEVICE]")
    sys.exit(owner(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "npu0"))
