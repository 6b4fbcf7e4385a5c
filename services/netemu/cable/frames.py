"""The system calls of frames. In machine code they are those of the C library, without an object for each number."""

from __future__ import annotations

import os

import cython

from services.kit.tun import VNET_HEADER_BYTES

if cython.compiled:
    from cython.cimports.libc.errno import EAGAIN, errno
    from cython.cimports.posix.unistd import read, write

READ_BYTES = 65536 + 14 + 4 + VNET_HEADER_BYTES
_buffer = bytearray(READ_BYTES)


def read_frame(source: int) -> bytes | None:
    """The next one that waits there, with its virtio header; None: there is none. OSError."""
    if not cython.compiled:
        try:
            return os.read(source, READ_BYTES)
        except BlockingIOError:
            return None
    start = _buffer
    got = read(source, start, READ_BYTES)
    if got >= 0:
        return bytes(start[:got])
    if errno == EAGAIN:
        return None
    raise OSError(errno, os.strerror(errno))


def write_frame(target: int, frame: bytes) -> bool:
    """False: it was not taken, as the interface is down or its queue is full."""
    if not cython.compiled:
        try:
            os.write(target, frame)
        except OSError:
            return False
        return True
    start = frame
    return bool(write(target, start, len(frame)) >= 0)
