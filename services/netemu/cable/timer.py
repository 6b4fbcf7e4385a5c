"""A timerfd on CLOCK_MONOTONIC (os.timerfd_create comes with Python 3.13)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import time

_libc = ctypes.CDLL(None, use_errno=True)
_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_ABSTIME = 0o4000, 0o2000000, 1


class Timer:
    """Its descriptor can be read once the time has come."""

    def __init__(self) -> None:
        self.descriptor = _libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def arm(self, at_ns: int) -> None:
        seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
        _libc.timerfd_settime(self.descriptor, _TFD_ABSTIME, struct.pack("4q", 0, 0, seconds, nanoseconds), None)

    def acknowledge(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 8)
