"""Give the head of a growing file back to the disk while others hold it open: offsets stay as they are."""

from __future__ import annotations

import ctypes
import errno
import os

_KEEP_SIZE = 0x01  # FALLOC_FL_KEEP_SIZE
_PUNCH_HOLE = 0x02  # FALLOC_FL_PUNCH_HOLE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate64.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(fd: int, end: int) -> None:
    """Free the bytes before `end`; OSError if the file system has no holes."""
    if _libc.fallocate64(fd, _PUNCH_HOLE | _KEEP_SIZE, 0, end) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def first_data(fd: int) -> int:
    """Where the hole at the head ends. Only the file itself records that."""
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # empty, or a hole to its end
            return os.fstat(fd).st_size
        raise
