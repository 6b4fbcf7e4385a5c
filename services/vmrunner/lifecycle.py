"""The life cycle of one machine, as a value and functions on it. Pure.

    stopped ─► delaying ─► loading ─► booting ─► booted
                  ▲           │          │          │
                  ├── failed ◄┴──────────┘          │     failed: the host could not start it (tried again by
                  └─────────────────────────────────┘     itself), or the boot watch gave up (left as it is)

Its end, whatever it was, starts it anew, but for two: when the guest powers itself off it is stopped until the next
boot that is asked for, and when it ends before it is booted the boot watch counts that as a time-out.

`decide` looks at what is (the machine, whether its qemu runs, the time) and what is wanted, and names the one
thing to do next; it is asked again after each. So a wish that comes twice, late, or in the middle does no harm.
Times are seconds of the epoch: a machine outlives the process that looks after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from services.contracts.nodes import ABSENT, POWER_OFF, NodeWanted
from services.contracts.vmrunner import BOOTED, BOOTING, DELAYING, FAILED, LOADING, STOPPED, VmReport

MAX_BACKOFF_S = 30

WAIT_RETRY_S = 2  # how long it waits for memory before it asks again

REBOOT_ASKED = "reboot asked"
POWERED_ON = "powered on"
NO_BOOT_WITHIN = "no boot within"


@dataclass(frozen=True)
class Machine:
    """What is remembered of one node's machine.

    boot: the NodeWanted.boot it answers; tried: a later one that the host could not begin yet; run: power-ons so
    far; cause: why this boot cycle began; cycle_start: from when boot.timeout counts; retries: those the boot watch has
    spent; failures: of the host, in a row; due: when the delay ends or, if failed, when it is tried again (0: it is not); waits: the delay is over, and it
    waits for memory of the host; ram_bytes: what it was powered on with last.
    """

    node_id: int
    name: str
    boot: int = 0
    tried: int = 0
    run: int = 0
    sequence: int = 0
    state: str = STOPPED
    since: float = 0.0
    reason: str = "not started yet"
    cause: str = ""
    cycle_start: float = 0.0
    powered_at: float = 0.0
    retries: int = 0
    failures: int = 0
    due: float = 0.0
    waits: bool = False
    ram_bytes: int = 0


@dataclass(frozen=True)
class Remove:
    """End it and forget it."""


@dataclass(frozen=True)
class Stop:
    """End it and leave it off."""


@dataclass(frozen=True)
class TakeAsOff:
    """The guest powered itself off."""


@dataclass(frozen=True)
class Begin:
    """End what runs and start a boot cycle."""

    cause: str
    retries: int


@dataclass(frozen=True)
class Count:
    """Show the countdown."""

    seconds_left: int


@dataclass(frozen=True)
class Load:
    """Power on: ports, bootloader, qemu."""


@dataclass(frozen=True)
class Recognise:
    """Its qemu had been started when our memory of it ended."""


@dataclass(frozen=True)
class GiveUp:
    """The boot watch has no retry left."""

    sentence: str


@dataclass(frozen=True)
class Rest:
    """Nothing to do before `until` (None: before something happens)."""

    until: float | None = None


Action = Remove | Stop | TakeAsOff | Begin | Count | Load | Recognise | GiveUp | Rest


def decide(machine: Machine, wanted: NodeWanted, runs: bool, ended: str, now: float) -> Action:
    """The next thing to do. runs: its qemu is there; ended: if it is not, how it ended."""
    if wanted.power == ABSENT:
        return Remove()
    if wanted.power == POWER_OFF:
        return Rest() if machine.state == STOPPED and machine.boot >= wanted.boot and not runs else Stop()
    if wanted.boot > machine.boot:
        return Begin(POWERED_ON if machine.state == STOPPED else REBOOT_ASKED, retries=0)
    if runs:
        return _running(machine, wanted, now)
    return _not_running(machine, wanted, ended, now)


def _running(machine: Machine, wanted: NodeWanted, now: float) -> Action:
    if machine.state == BOOTED:
        return Rest()
    if machine.state in (LOADING, STOPPED) or machine.due:
        return Recognise()
    if wanted.boot_timeout_s is None or wanted.boot_retries == 0:
        return Rest()
    expires = machine.cycle_start + wanted.boot_timeout_s
    if now < expires:
        return Rest(expires)
    return _retry(machine, wanted, f"{NO_BOOT_WITHIN} {wanted.boot_timeout_s} s")


def _retry(machine: Machine, wanted: NodeWanted, fault: str) -> Action:
    if machine.retries < wanted.boot_retries:
        retry = machine.retries + 1
        return Begin(f"{fault}; retry {retry} of {wanted.boot_retries}", retry)
    return Rest() if machine.state == FAILED else GiveUp(f"{fault}, {machine.retries} retries spent; left as it is")


def _not_running(machine: Machine, wanted: NodeWanted, ended: str, now: float) -> Action:
    if machine.state == LOADING:
        return Load()
    if machine.due:
        return _not_yet(machine, now)
    if machine.state == STOPPED:
        return Rest()
    if ended == GUEST_POWERED_OFF:
        return TakeAsOff()
    if machine.state == BOOTED or wanted.boot_retries == 0:
        return Begin(ended, machine.retries)
    return _retry(machine, wanted, f"{ended} before it was booted")


def _not_yet(machine: Machine, now: float) -> Action:
    if now >= machine.due:
        return Load()
    if machine.state == DELAYING and not machine.waits:
        return Count(math.ceil(machine.due - now))
    return Rest(machine.due)


POWER_OFF_GUEST = "poweroff"
SYNC_GUEST = "sync"


def farewell(machine: Machine, wanted: NodeWanted, has_disks: bool) -> str:
    """What its guest is asked to do before its qemu is ended for this wish: POWER_OFF_GUEST, SYNC_GUEST or nothing."""
    if machine.state != BOOTED or wanted.hard or wanted.power == ABSENT:
        return ""
    return POWER_OFF_GUEST if has_disks else SYNC_GUEST


def begin(machine: Machine, wanted: NodeWanted, action: Begin, delay_s: int, now: float) -> Machine:
    return replace(
        _to(machine, DELAYING, f"{action.cause}; boots in {delay_s} s" if delay_s else action.cause, now),
        name=wanted.name,
        boot=wanted.boot,
        cause=action.cause,
        retries=action.retries,
        cycle_start=now,
        failures=0,
        due=now + delay_s,
        waits=False,
    )


def waiting(machine: Machine, sentence: str, now: float) -> Machine:
    """There is no memory for it yet. The time that it waits is not the boot's."""
    until = replace(machine, due=now + WAIT_RETRY_S, cycle_start=now, waits=True)
    if machine.state == DELAYING and machine.reason == sentence:
        return until
    return replace(_to(until, DELAYING, sentence, now), since=machine.since if machine.waits else now, failures=0)


def load(machine: Machine, ram_bytes: int, now: float) -> Machine:
    """Power-on. A machine that failed stays so, its reason in sight, until the new try succeeds."""
    machine = replace(machine, run=machine.run + 1, ram_bytes=ram_bytes, waits=False)
    if machine.state == FAILED:
        return machine
    return replace(_to(machine, LOADING, f"{machine.cause}; its ports, kernel and initrd are made ready", now), due=0.0)


def started(machine: Machine, now: float) -> Machine:
    reason = f"{machine.cause}; its system starts, ssh does not answer yet"
    return replace(_to(machine, BOOTING, reason, now), failures=0, due=0.0, powered_at=now)


def booted(machine: Machine, run: int, at: float, now: float) -> Machine:
    """Unchanged when the news is of an earlier run, or no news."""
    if run != machine.run or machine.state not in (BOOTING, FAILED) or machine.due:
        return machine
    took = max(0.0, at - machine.powered_at)
    return replace(_to(machine, BOOTED, f"ssh answers after {took:.1f} s", now), retries=0)


def copying(machine: Machine, run: int, at: float) -> Machine:
    """Its system puts the image on its disk: that time is not the boot's. Unchanged when the news is old."""
    if run != machine.run or machine.state != BOOTING or at <= machine.cycle_start:
        return machine
    reason = f"{machine.cause}; its system copies the image to its disk"
    new = machine if machine.reason == reason else _to(machine, BOOTING, reason, at)
    return replace(new, since=machine.since, cycle_start=at)


def failed(machine: Machine, sentence: str, now: float, tried: int = 0) -> Machine:
    """The host could not do it: tried again after 2, 4, 8, … seconds. tried: the boot that was not even begun."""
    failures = machine.failures + 1
    pause = min(MAX_BACKOFF_S, 2**failures)
    failure = _to(machine, FAILED, f"{sentence}; next try in {pause} s", now)
    return replace(failure, tried=max(tried, machine.tried), failures=failures, due=now + pause)


def given_up(machine: Machine, sentence: str, now: float) -> Machine:
    return _to(machine, FAILED, sentence, now)


def stopped(machine: Machine, wanted: NodeWanted, now: float, reason: str = "powered off as asked") -> Machine:
    off = _to(machine, STOPPED, reason, now)
    boot = max(machine.boot, wanted.boot)
    return replace(off, name=wanted.name, boot=boot, retries=0, failures=0, due=0.0, waits=False)


def _to(machine: Machine, state: str, reason: str, now: float) -> Machine:
    since = machine.since if state == machine.state == FAILED else now
    sequence = max(machine.sequence + 1, int(now * 1e9))
    return replace(machine, state=state, reason=reason, since=since, sequence=sequence)


def report(machine: Machine, host: str) -> VmReport:
    return VmReport(
        node_id=machine.node_id,
        name=machine.name,
        host=host,
        boot=max(machine.boot, machine.tried),
        run=machine.run,
        sequence=machine.sequence,
        state=machine.state,
        since=machine.since,
        reason=machine.reason,
    )


def holds_memory(machine: Machine) -> bool:
    """Whether it may have a qemu, for all that is remembered of it."""
    return machine.state in (LOADING, BOOTING, BOOTED) or (machine.state == FAILED and not machine.due)


def keeps_promise(machine: Machine) -> bool:
    """Without a qemu: whether it is on its way to the next one. Others who wait for memory do not take its own."""
    return machine.state not in (STOPPED, FAILED)


ENDED_UNSEEN = "its qemu ended while nobody watched"
GUEST_POWERED_OFF = "the guest powered off"

_ENDINGS = {
    "guest-reset": "the guest rebooted",
    "guest-shutdown": GUEST_POWERED_OFF,
    "guest-panic": "the guest panicked",
    "host-qmp-quit": "qemu was told to quit",
    "host-signal": "qemu was ended by a signal",
}


def ending(shutdown_reason: str | None) -> str:
    """What a SHUTDOWN event of qemu says of the end; None: it ended without one."""
    return "qemu crashed" if shutdown_reason is None else _ENDINGS.get(shutdown_reason, f"qemu: {shutdown_reason}")
