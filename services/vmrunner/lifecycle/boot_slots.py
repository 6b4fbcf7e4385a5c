"""Slots to boot: at most as many VMs at once as the host has CPUs, in order of arrival.

A system that boots takes a whole CPU for most of the time. When more of them boot than there are CPUs, each becomes
slower by as much, and the boot of none ends within its time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.vmrunner.lifecycle.boot_clock import host_idle_seconds

HOLD_LIMIT_S = 120.0  # of one slot: a system that never answers must not keep others from booting
LOOK_S = 5.0  # between two measures of a VM that has a slot
BUSY_SHARE = 0.25  # of a CPU: a VM that takes less while so much was idle does not boot, or waits for something else

CpuSeconds = Callable[[], float | None]  # None while there is no qemu


@dataclass
class _Holder:
    """since: when it got the slot; looked: when its CPU time and the idle time of the host were measured last."""

    since: float
    looked: float
    idle_s: float
    cpu_s: float | None = None
    cpu_seconds: CpuSeconds = lambda: None


@dataclass(frozen=True)
class _Waiter:
    arrival: float
    wake: Callable[[], None]


class BootSlots:
    """Called by the threads of all runners. clock: monotonic seconds; idle_seconds: of all CPUs of the host."""

    def __init__(
        self,
        count: int,
        clock: Callable[[], float] = time.monotonic,
        idle_seconds: Callable[[], float] = host_idle_seconds,
    ) -> None:
        self._count = count
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._holders: dict[int, _Holder] = {}
        self._waiters: dict[int, _Waiter] = {}

    def request(self, node_id: int, arrival: float, wake: Callable[[], None]) -> bool:
        """Whether it has a slot. If not, it waits for one: `wake` is called when it has got it, and it requests again
        within LOOK_S, which also takes slots from those that no longer need them. The earliest arrival comes first."""
        idle = self._idle_holders()
        with self._lock:
            if node_id not in self._holders:
                self._waiters[node_id] = _Waiter(arrival, wake)
            for holder in idle:
                self._holders.pop(holder, None)
            self._grant()
            return node_id in self._holders

    def occupy(self, node_id: int, cpu_seconds: CpuSeconds) -> None:
        """Its qemu runs and boots, with a slot or, after a restart of this service, without."""
        with self._lock:
            now = self._clock()
            self._waiters.pop(node_id, None)
            since = self._holders[node_id].since if node_id in self._holders else now
            self._holders[node_id] = _Holder(since, now, self._idle_seconds(), cpu_seconds(), cpu_seconds)

    def release(self, node_id: int) -> None:
        """It has booted, or does not boot any more. Also of one that has none, or waits."""
        with self._lock:
            self._waiters.pop(node_id, None)
            if self._holders.pop(node_id, None) is not None:
                self._grant()

    def waiting(self) -> int:
        return len(self._waiters)

    def _grant(self) -> None:
        while self._waiters and len(self._holders) < self._count:
            first = min(self._waiters, key=lambda node_id: (self._waiters[node_id].arrival, node_id))
            now = self._clock()
            self._holders[first] = _Holder(now, now, self._idle_seconds())
            self._waiters.pop(first).wake()

    def _idle_holders(self) -> list[int]:
        """Those that have had their slot for long enough, or take little CPU time."""
        now = self._clock()
        return [
            node_id
            for node_id, holder in list(self._holders.items())
            if now - holder.since >= HOLD_LIMIT_S or self._is_idle(holder, now)
        ]

    def _is_idle(self, holder: _Holder, now: float) -> bool:
        """Since the last measure, which this one replaces when it is old enough. A VM that gets no CPU because all are
        busy is not idle."""
        passed_s = now - holder.looked
        if passed_s < LOOK_S:
            return False
        before_s, idle_before_s = holder.cpu_s, holder.idle_s
        holder.cpu_s, holder.idle_s, holder.looked = holder.cpu_seconds(), self._idle_seconds(), now
        if before_s is None or holder.cpu_s is None:
            return False
        needed_s = BUSY_SHARE * passed_s
        return holder.cpu_s - before_s < needed_s < holder.idle_s - idle_before_s
