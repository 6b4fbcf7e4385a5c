"""Pure: whose turn it is in the cable, and how much of its time and memory each owner of ports may use.

Time: of the owners that have work, the one that has used least is next (start-time fair queueing), for one short turn.
One owner uses at most OWNER_CPUS of the host's processors in the long run while others want them, so that a loop of two
bridges in his nodes takes no core for good at real-time priority; more waits. While more than SPARE_CPUS are idle, he
may use more. All together leave some of their core to others, as else the kernel stops a real-time process for 50 ms in
each second.

Memory: an owner may use as much as all together leave free (dynamic thresholds, Choudhury and Hahne 1998): one alone
gets half, two a third each. There is always room for one more, and what is beyond a share is dropped of its owner only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

S = 1_000_000_000
MAX_CORE_SHARE = 0.9  # of the one core that the cable can use; the kernel's own limit is 0.95
OWNER_CPUS = min(MAX_CORE_SHARE, 0.25 * (os.cpu_count() or 1))
SPARE_CPUS = 0.25
GAIN = 0.5  # of each look at the idle processors: a busy host gets back what was lent within a second
LENT_NS = S  # without such a look nothing is lent any more
BURST_NS = 10_000_000  # of processor time, that may be used at once after a rest
RESUME_NS = 1_000_000  # who was held back goes on once he has so much again


class CpuBudget:
    """Processor time that comes at a steady rate, and is kept up to a burst."""

    __slots__ = ("rate", "_left_ns", "_since_ns")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._left_ns = float(BURST_NS)
        self._since_ns = 0

    def charge(self, now_ns: int, cost_ns: int) -> int:
        """How long to wait until there is some again; 0: there still is."""
        self._left_ns = min(BURST_NS, self._left_ns + (now_ns - self._since_ns) * self.rate) - cost_ns
        self._since_ns = now_ns
        return 0 if self._left_ns > 0 else int((RESUME_NS - self._left_ns) / self.rate)


class OwnerShare:
    """What one owner uses. dropped: frames for which his share of the memory had no room; held_ns: for how long in all
    his frames waited for his share of the time; limited_at_ns: when one or the other was so last, 0 for never."""

    __slots__ = ("owner", "used_ns", "queued_bytes", "dropped", "held_ns", "limited_at_ns", "budget")

    def __init__(self, owner: str, used_ns: int) -> None:
        self.owner = owner
        self.used_ns = used_ns
        self.queued_bytes = self.dropped = self.held_ns = self.limited_at_ns = 0
        self.budget = CpuBudget(OWNER_CPUS)


class OwnerShares:
    """The shares of all owners. memory: for the frames of all, in bytes."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._queued_bytes = 0
        self._least_ns = 0  # used by whoever was next last: nobody saves up turns while he has no work
        self._all = CpuBudget(MAX_CORE_SHARE)
        self._owner_cpus = OWNER_CPUS
        self._lent_at_ns = 0

    def new(self, owner: str) -> OwnerShare:
        return OwnerShare(owner, self._least_ns)

    def has_room(self, share: OwnerShare, size: int) -> bool:
        return share.queued_bytes + size <= self._memory - self._queued_bytes

    def keep(self, share: OwnerShare, size: int) -> None:
        share.queued_bytes += size
        self._queued_bytes += size

    def drop(self, share: OwnerShare, now_ns: int) -> None:
        share.dropped += 1
        share.limited_at_ns = now_ns

    def next(self, with_work: Iterable[OwnerShare]) -> OwnerShare:
        chosen = min(with_work, key=lambda share: max(share.used_ns, self._least_ns))
        self._least_ns = chosen.used_ns = max(chosen.used_ns, self._least_ns)
        return chosen

    def charge(self, share: OwnerShare, now_ns: int, cost_ns: int) -> tuple[int, int]:
        """After a turn. (for how long this owner is held back, for how long all are), in ns."""
        share.used_ns += cost_ns
        share.budget.rate = self._rate(now_ns)
        held_ns = share.budget.charge(now_ns, cost_ns)
        if held_ns:
            share.held_ns += held_ns
            share.limited_at_ns = now_ns
        return held_ns, self._all.charge(now_ns, cost_ns)

    def lend(self, now_ns: int, idle_cpus: float | None) -> None:
        """Let each owner use more, or less again, until SPARE_CPUS are idle. None: as before."""
        if idle_cpus is None:
            return
        wanted = self._rate(now_ns) + GAIN * (idle_cpus - SPARE_CPUS)
        self._owner_cpus = min(MAX_CORE_SHARE, max(OWNER_CPUS, wanted))
        self._lent_at_ns = now_ns

    def _rate(self, now_ns: int) -> float:
        """Of each owner."""
        return self._owner_cpus if now_ns - self._lent_at_ns < LENT_NS else OWNER_CPUS
