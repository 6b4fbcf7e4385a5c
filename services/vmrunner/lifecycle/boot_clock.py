"""How long a VM that boots could not run, because other programs had the CPUs of the host."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

LEAST_SHARE = 0.25  # of the time that passes counts in any case, so that a VM that hangs on a busy host is found too

CPU_TIMES = Path("/proc/stat")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def host_idle_seconds() -> float:
    """Of all CPUs together, since the host was started: idle, and waiting for disks (proc(5))."""
    fields = CPU_TIMES.read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / CLOCK_TICKS


def starved_s(passed_s: float, cpu_s: float, idle_s: float) -> float:
    """cpu_s: CPU time that the VM got; idle_s: of which no program made use, so that the VM could have. Pure."""
    return max(0.0, passed_s - max(LEAST_SHARE * passed_s, cpu_s + idle_s))


class BootClock:
    """cpu_seconds: of the VM, None once it is gone."""

    def __init__(
        self,
        cpu_seconds: Callable[[], float | None],
        idle_seconds: Callable[[], float] = host_idle_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._last = self._measure()

    def starved_s(self) -> float:
        """Since this was called last, or since the beginning."""
        then, self._last = self._last, self._measure()
        passed_s, cpu_s, idle_s = (now - before for now, before in zip(self._last, then, strict=True))
        return starved_s(passed_s, cpu_s, idle_s)

    def _measure(self) -> tuple[float, float, float]:
        return self._clock(), self._cpu_seconds() or 0.0, self._idle_seconds()
