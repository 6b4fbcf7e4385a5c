"""The life cycle of one VM, as a value and functions that make the next one of it. Pure.

    stopped ─► delaying ─► loading ─► booting ─► booted
                  ▲           │          │          │
                  ├── failed ◄┴──────────┘          │     failed: the host could not start it (retried after a
                  └─────────────────────────────────┘     pause), or its boots took too long (left as it is)

When its qemu ends it boots again, with two exceptions: a guest that powers itself off stays stopped until the next boot
that a user requests, and an end before it has booted counts as a boot that took too long.

Times are seconds since the epoch, since a VM outlives the process that looks after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from walt.contracts.bootserver import NodeReachable
from walt.contracts.nodes import POWER_ON, NodeWanted
from walt.contracts.vmrunner import (
    BOOTED,
    BOOTING,
    CAUSE_COPYING_IMAGE,
    CAUSE_GUEST_HALTED,
    CAUSE_MOVING,
    CAUSE_NEVER_STARTED,
    CAUSE_NO_ANSWER,
    CAUSE_NO_SPACE,
    CAUSE_POWERED_ON,
    CAUSE_SSH_ANSWERS,
    DELAYING,
    FAILED,
    LOADING,
    STOPPED,
    VmReport,
)

HALTED = "reboot: System halted"  # the last line of a Linux that halts
MAX_BACKOFF_S = 30
NO_SPACE = "it is paused, as it writes and the disk of its host is nearly full; it runs on once there is room"
MEMORY_RETRY_S = 2  # between two requests for memory of the host


@dataclass(frozen=True)
class VmRecord:
    """What vmrunner remembers of one node's VM.

    boot: the NodeWanted.boot that it answers.
    tried: a later one that the host could not begin yet.
    run: number of power-ons so far.
    sequence: grows with every report.
    state, since, cause, reason: as in VmReport.
    cycle_cause, cycle_reason: why the present boot cycle began.
    cycle_start: from when boot.timeout counts.
    powered_at: when its system was started.
    retries: how many of boot.retries are used since it was last booted.
    failures: of the host, in a row.
    due: when the delay ends or, if failed, when it is tried again (0: it is not).
    waits: the delay is over, and it waits for memory or for others to boot.
    ram_bytes: with how much memory it was powered on last.
    leaving: the move (NodeWanted.move) by which it leaves this host, 0 for none.
    arrived: the last move of which this host has all disks.
    """

    node_id: int
    name: str
    boot: int = 0
    tried: int = 0
    run: int = 0
    sequence: int = 0
    state: str = STOPPED
    since: float = 0.0
    cause: str = CAUSE_NEVER_STARTED
    reason: str = "not started yet"
    cycle_cause: str = CAUSE_POWERED_ON
    cycle_reason: str = "powered on"
    cycle_start: float = 0.0
    powered_at: float = 0.0
    retries: int = 0
    failures: int = 0
    due: float = 0.0
    waits: bool = False
    ram_bytes: int = 0
    leaving: int = 0
    arrived: int = 0

    @property
    def may_hold_memory(self) -> bool:
        """Whether it may have a qemu, as far as the record tells."""
        return self.state in (LOADING, BOOTING, BOOTED) or (self.state == FAILED and not self.due)

    @property
    def keeps_promise(self) -> bool:
        """Without a qemu: whether it boots again, so that its memory is not given to others."""
        return self.state not in (STOPPED, FAILED)


def begin(
    record: VmRecord, spec: NodeWanted, cause: str, reason: str, retries: int, delay_s: int, now: float
) -> VmRecord:
    """A new boot cycle."""
    shown = f"{reason}; boots in {delay_s} s" if delay_s else reason
    return replace(
        _to(record, DELAYING, cause, shown, now),
        name=spec.name,
        boot=spec.boot,
        cycle_cause=cause,
        cycle_reason=reason,
        retries=retries,
        cycle_start=now,
        failures=0,
        due=now + delay_s,
        waits=False,
    )


def waiting(record: VmRecord, cause: str, sentence: str, now: float) -> VmRecord:
    """There is no memory for it yet, or others boot before it."""
    new = replace(record, due=now + MEMORY_RETRY_S, waits=True, failures=0)
    if record.waits and record.reason == sentence:
        return new
    since = record.since if record.waits else now
    return replace(_to(new, DELAYING, cause, sentence, now), since=since)


def load(record: VmRecord, ram_bytes: int, now: float) -> VmRecord:
    """Power-on. A VM that failed stays so, with its reason, until the new attempt succeeds. The time that it has waited
    does not count as its boot's."""
    cycle_start = now if record.waits else record.cycle_start
    new = replace(record, run=record.run + 1, ram_bytes=ram_bytes, waits=False, cycle_start=cycle_start)
    if record.state == FAILED:
        return new
    reason = f"{record.cycle_reason}; its ports, kernel and initrd are prepared"
    return replace(_to(new, LOADING, record.cycle_cause, reason, now), due=0.0)


def started(record: VmRecord, now: float) -> VmRecord:
    reason = f"{record.cycle_reason}; its system starts, ssh does not answer yet"
    return replace(_to(record, BOOTING, record.cycle_cause, reason, now), failures=0, due=0.0, powered_at=now)


def booted(record: VmRecord, run: int, at: float, now: float) -> VmRecord:
    """Unchanged when the event is of an earlier run, or tells nothing new."""
    if run != record.run or record.state not in (BOOTING, FAILED) or record.due:
        return record
    took_s = max(0.0, at - record.powered_at)
    return replace(_to(record, BOOTED, CAUSE_SSH_ANSWERS, f"ssh answers after {took_s:.1f} s", now), retries=0)


def copying(record: VmRecord, run: int, at: float) -> VmRecord:
    """Its system copies the image to its disk, which does not count as booting. Unchanged when the event is old."""
    if run != record.run or record.state != BOOTING or at <= record.cycle_start:
        return record
    if record.cause != CAUSE_COPYING_IMAGE:
        reason = f"{record.cycle_reason}; its system copies the image to its disk"
        record = replace(_to(record, BOOTING, CAUSE_COPYING_IMAGE, reason, at), since=record.since)
    return replace(record, cycle_start=at)


def paused(record: VmRecord, is_paused: bool, now: float) -> VmRecord:
    """For lack of space on the disk of its host. The same record when that is known, or it has not booted yet."""
    if record.state != BOOTED or is_paused == (record.cause == CAUSE_NO_SPACE):
        return record
    if is_paused:
        return _to(record, BOOTED, CAUSE_NO_SPACE, NO_SPACE, now)
    return _to(record, BOOTED, CAUSE_SSH_ANSWERS, "it runs again", now)


def reachable(record: VmRecord, seen: NodeReachable, clue: str) -> VmRecord:
    """A booted node has fallen silent, for a reason that its console may tell (`clue`), or answers again. The same
    record when that is known, of an earlier run, or when it is silent for a reason that is known already. That it has
    booted was lost, perhaps with the broker, where it is still booting and answers."""
    if seen.answers and record.state == BOOTING:
        return booted(record, seen.run, seen.since, seen.since)
    if seen.run != record.run or record.state != BOOTED or seen.answers != (record.cause == CAUSE_NO_ANSWER):
        return record
    if seen.answers:
        return _to(record, BOOTED, CAUSE_SSH_ANSWERS, "it answers again", seen.since)
    if record.cause != CAUSE_SSH_ANSWERS:
        return record
    reason = f"it does not answer; its console shows: {clue}" if clue else "it does not answer"
    cause = CAUSE_GUEST_HALTED if clue == HALTED else CAUSE_NO_ANSWER
    return _to(record, BOOTED, cause, reason, seen.since)


def starved(record: VmRecord, seconds: float) -> VmRecord:
    """Time that it could not run does not count as its boot's."""
    if record.state != BOOTING:
        return record
    return replace(record, cycle_start=record.cycle_start + seconds)


def failed(record: VmRecord, cause: str, sentence: str, now: float, tried: int = 0) -> VmRecord:
    """The host could not do it: tried again after 2, 4, 8, … seconds. tried: a boot that could not even begin."""
    failures = record.failures + 1
    pause_s = min(MAX_BACKOFF_S, 2**failures)
    failure = _to(record, FAILED, cause, f"{sentence}; next try in {pause_s} s", now)
    return replace(failure, tried=max(tried, record.tried), failures=failures, due=now + pause_s)


def given_up(record: VmRecord, cause: str, sentence: str, now: float) -> VmRecord:
    return _to(record, FAILED, cause, sentence, now)


def stopped(record: VmRecord, spec: NodeWanted, cause: str, reason: str, now: float) -> VmRecord:
    off = _to(record, STOPPED, cause, reason, now)
    boot = max(record.boot, spec.boot)
    return replace(off, name=spec.name, boot=boot, retries=0, failures=0, due=0.0, waits=False)


def arriving(record: VmRecord, spec: NodeWanted, sentence: str, now: float) -> VmRecord:
    """Its disks come from another host."""
    state = DELAYING if spec.power == POWER_ON else STOPPED
    new = replace(record, name=spec.name, tried=spec.boot, failures=0, due=0.0, waits=False)
    return _to(new, state, CAUSE_MOVING, sentence, now)


def arrived(record: VmRecord, spec: NodeWanted, run: int, now: float) -> VmRecord:
    """run: of its last power-on at the other host."""
    here = arriving(record, spec, f"its disks have come from host {spec.moves_from}", now)
    return replace(here, run=max(run, record.run), arrived=spec.move)


def gone_back(record: VmRecord, boot: int) -> VmRecord:
    """Of two histories of the registry, its boots are now counted in the one that is at `boot`."""
    if boot >= record.boot:
        return record
    return replace(record, boot=boot, tried=min(boot, record.tried), sequence=record.sequence + 1)


def _to(record: VmRecord, state: str, cause: str, reason: str, now: float) -> VmRecord:
    since = record.since if state == record.state == FAILED else now
    sequence = max(record.sequence + 1, int(now * 1e9))
    return replace(record, state=state, cause=cause, reason=reason, since=since, sequence=sequence)


def report(record: VmRecord, host: str) -> VmReport:
    return VmReport(
        node_id=record.node_id,
        name=record.name,
        host=host,
        boot=max(record.boot, record.tried),
        run=record.run,
        sequence=record.sequence,
        state=record.state,
        since=record.since,
        reason=record.reason,
        cause=record.cause,
        arrived=record.arrived,
    )
