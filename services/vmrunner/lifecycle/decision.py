"""What to do next with one VM. Pure.

`decide` compares what is there (the record, whether its qemu runs, the time) with its spec, and names one action. It is
asked again after each, so that a spec that comes twice, late, or in the middle does no harm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.vmrunner.lifecycle.transitions import VmRecord
from services.vmrunner.qemu.endings import Ending
from walt.contracts.nodes import ABSENT, POWER_OFF, NodeWanted
from walt.contracts.vmrunner import (
    BOOTED,
    CAUSE_GUEST_HALTED,
    CAUSE_GUEST_POWERED_OFF,
    CAUSE_NO_BOOT,
    CAUSE_POWERED_ON,
    CAUSE_REBOOT_REQUESTED,
    DELAYING,
    FAILED,
    LOADING,
    STOPPED,
)

POWER_OFF_GUEST = "poweroff"
SYNC_GUEST = "sync"


@dataclass(frozen=True)
class Remove:
    """End it and forget it."""


@dataclass(frozen=True)
class Stop:
    """End it and leave it off."""


@dataclass(frozen=True)
class EndHalted:
    """Its system has halted: end its qemu, and leave it off."""


@dataclass(frozen=True)
class MarkStopped:
    """The guest powered itself off."""


@dataclass(frozen=True)
class Receive:
    """Fetch its disks from the host that it leaves."""


@dataclass(frozen=True)
class StartBootCycle:
    """End what runs first. cause: one of CAUSE_…; reason: the same for people."""

    cause: str
    reason: str
    retries: int


@dataclass(frozen=True)
class ShowCountdown:
    """To the power-on, on the console."""

    seconds_left: int


@dataclass(frozen=True)
class Load:
    """Power on: ports, bootloader, qemu."""


@dataclass(frozen=True)
class Adopt:
    """Its qemu runs, though its start is not in the record."""


@dataclass(frozen=True)
class GiveUp:
    """All retries of its boot are used."""

    cause: str
    reason: str


@dataclass(frozen=True)
class Idle:
    """Nothing to do before `until` (None: before something happens)."""

    until: float | None = None


Action = (
    Remove | Receive | Stop | EndHalted | MarkStopped | StartBootCycle | ShowCountdown | Load | Adopt | GiveUp | Idle
)


def decide(record: VmRecord, spec: NodeWanted, ending: Ending | None, now: float) -> Action:
    """ending: how its qemu ended, None while it runs."""
    if spec.power == ABSENT:
        return Remove()
    if spec.moves_from:
        return _decide_arriving(record, spec, now)
    if spec.power == POWER_OFF:
        is_off = record.state == STOPPED and record.boot >= spec.boot and ending is not None
        return Idle() if is_off else Stop()
    if spec.boot > record.boot:
        if record.state == STOPPED:
            return StartBootCycle(CAUSE_POWERED_ON, "powered on", retries=0)
        return StartBootCycle(CAUSE_REBOOT_REQUESTED, "reboot requested", retries=0)
    if ending is None:
        return _decide_running(record, spec, now)
    return _decide_ended(record, spec, ending, now)


def _decide_arriving(record: VmRecord, spec: NodeWanted, now: float) -> Action:
    """Nothing is started before the registry knows that its disks have come: the other host could take it back."""
    if record.arrived == spec.move:
        return Idle()
    return Idle(record.due) if record.state == FAILED and now < record.due else Receive()


def _decide_running(record: VmRecord, spec: NodeWanted, now: float) -> Action:
    if record.state == BOOTED:
        return EndHalted() if record.cause == CAUSE_GUEST_HALTED else Idle()
    if record.state in (LOADING, STOPPED) or record.due:
        return Adopt()
    if spec.boot_timeout_s is None or spec.boot_retries == 0:
        return Idle()
    if not is_late(record, spec, now):
        return Idle(record.cycle_start + spec.boot_timeout_s)
    return _retry(record, spec, CAUSE_NO_BOOT, f"no boot within {spec.boot_timeout_s} s")


def is_late(record: VmRecord, spec: NodeWanted, now: float) -> bool:
    """Whether it boots longer than it may."""
    timeout_s = spec.boot_timeout_s
    return timeout_s is not None and now >= record.cycle_start + timeout_s


def _retry(record: VmRecord, spec: NodeWanted, cause: str, fault: str) -> Action:
    if record.retries < spec.boot_retries:
        retry = record.retries + 1
        return StartBootCycle(cause, f"{fault}; retry {retry} of {spec.boot_retries}", retry)
    return (
        Idle() if record.state == FAILED else GiveUp(cause, f"{fault}, {record.retries} retries spent; left as it is")
    )


def _decide_ended(record: VmRecord, spec: NodeWanted, ending: Ending, now: float) -> Action:
    if record.state == LOADING:
        return Load()
    if record.due:
        return _decide_delayed(record, now)
    if record.state == STOPPED:
        return Idle()
    if record.state == BOOTED and record.cause == CAUSE_GUEST_HALTED:
        return EndHalted()
    if ending.cause == CAUSE_GUEST_POWERED_OFF:
        return MarkStopped()
    if record.state == BOOTED or spec.boot_retries == 0:
        return StartBootCycle(ending.cause, ending.sentence, record.retries)
    return _retry(record, spec, ending.cause, f"{ending.sentence} before it was booted")


def _decide_delayed(record: VmRecord, now: float) -> Action:
    if now >= record.due:
        return Load()
    if record.state == DELAYING and not record.waits:
        return ShowCountdown(math.ceil(record.due - now))
    return Idle(record.due)


def shutdown_command(record: VmRecord, spec: NodeWanted, has_disks: bool) -> str:
    """What the guest is told before its qemu is ended for this spec: POWER_OFF_GUEST, SYNC_GUEST or nothing ("")."""
    if record.state != BOOTED or spec.hard or spec.power == ABSENT:
        return ""
    return POWER_OFF_GUEST if has_disks else SYNC_GUEST
