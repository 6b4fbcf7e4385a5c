"""How many processors of the host were idle lately."""

from __future__ import annotations

import os
from collections.abc import Callable

EVERY_NS = 200_000_000  # the kernel counts in hundredths of a second
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STAT = "/proc/stat"


def idle_ticks() -> int:
    """Of all processors together, since the start of the host; those that wait for a disk are idle too."""
    with open(STAT, "rb") as file:
        fields = file.readline().split()
    return int(fields[4]) + int(fields[5])


class IdleCpus:
    def __init__(self, read: Callable[[], int] = idle_ticks) -> None:
        self._read = read
        self._since_ns = 0
        self._ticks = 0

    def poll(self, now_ns: int) -> float | None:
        """The mean since the last one; None if that is less than EVERY_NS ago, and at the first call."""
        passed_ns = now_ns - self._since_ns
        if passed_ns < EVERY_NS:
            return None
        is_first, before = self._since_ns == 0, self._ticks
        self._since_ns, self._ticks = now_ns, self._read()
        return None if is_first else (self._ticks - before) / TICKS_PER_S / (passed_ns / 1e9)
