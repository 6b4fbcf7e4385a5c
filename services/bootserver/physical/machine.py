"""One physical node as seen from outside: which boot files it requests, and whether its ssh server answers. Pure.

Its power cannot be switched. A requested reboot or power-off is a command to its system over ssh: at once when it has
booted, else as soon as it has. A machine that does not answer boots its present spec when somebody switches it on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from walt.contracts.nodes import POWER_OFF, NodeWanted
from walt.contracts.vmrunner import (
    BOOTED,
    BOOTING,
    CAUSE_NEVER_STARTED,
    CAUSE_NO_ANSWER,
    CAUSE_NO_BOOT,
    CAUSE_NOT_BACK,
    CAUSE_POWERED_ON,
    CAUSE_REBOOT_REQUESTED,
    CAUSE_SSH_ANSWERS,
    CAUSE_STOP_REQUESTED,
    DELAYING,
    FAILED,
    LOADING,
    STOPPED,
    VmReport,
)

BOOT_LIMIT_S = 300.0  # from its script to its ssh server
RETURN_LIMIT_S = 600.0  # from the reboot command to its script: firmware is slow
OFF_LIMIT_S = 120.0  # from the poweroff command until it does not answer any more

_NO_BOOT = (BOOT_LIMIT_S, FAILED, CAUSE_NO_BOOT, f"its ssh server has not answered within {BOOT_LIMIT_S:g} s")
_NOT_BACK = f"told to reboot, it has not come back within {RETURN_LIMIT_S:g} s"
_TIMEOUTS = {
    LOADING: _NO_BOOT,
    BOOTING: _NO_BOOT,
    DELAYING: (RETURN_LIMIT_S, STOPPED, CAUSE_NOT_BACK, _NOT_BACK),
}


@dataclass(frozen=True)
class Machine:
    """requested_boot: NodeWanted.boot of the newest spec; power_off: whether that spec wants it off; boot: of the spec
    that its present run answers. The other fields are those of VmReport."""

    node_id: int
    name: str
    host: str
    ip: str
    requested_boot: int
    boot: int
    run: int
    sequence: int
    state: str
    since: float
    reason: str = ""
    power_off: bool = False
    cause: str = ""

    @property
    def has_pending_command(self) -> bool:
        return self.state == BOOTED and self.boot < self.requested_boot

    @property
    def is_powering_off(self) -> bool:
        """It has taken the poweroff command."""
        return self.state == BOOTED and self.boot == self.requested_boot and self.power_off


def never_booted(spec: NodeWanted, now: float) -> Machine:
    """A node of which nothing is known here but its spec."""
    reason = "it has not booted since bootserver knows it"
    return Machine(
        spec.id, spec.name, spec.host, spec.ip, spec.boot, 0, 0, 1, STOPPED, now, reason, cause=CAUSE_NEVER_STARTED
    )


def script_requested(known: Machine | None, spec: NodeWanted, now: float) -> Machine:
    """The machine requested its boot script: boot the present spec. A pending power-off stays pending."""
    new = with_spec(known or never_booted(spec, now), spec)
    to_end = new.power_off and new.boot < new.requested_boot
    boot = new.boot if to_end else spec.boot
    return _transition(new, LOADING, now, CAUSE_POWERED_ON, run=new.run + 1, boot=boot, power_off=to_end)


def with_spec(machine: Machine, spec: NodeWanted) -> Machine:
    """Takes over name, host and address, and a new boot or power-off. A machine that does not answer counts as off."""
    machine = replace(machine, name=spec.name, host=spec.host, ip=spec.ip)
    if spec.boot <= machine.requested_boot:
        return machine
    power_off = spec.power == POWER_OFF
    is_done = power_off and machine.state in (STOPPED, FAILED)
    boot = spec.boot if is_done else machine.boot
    sequence = machine.sequence + 1
    return replace(machine, requested_boot=spec.boot, boot=boot, power_off=power_off, sequence=sequence)


def gone_back(machine: Machine, boot: int) -> Machine:
    """A registry that was restored counts boots from where it was; what was requested of it before is over."""
    return replace(machine, requested_boot=boot, boot=boot, power_off=False, sequence=machine.sequence + 1)


def numbered(machine: Machine, now: float) -> Machine:
    """As it is to be stored and reported. Its number is not below the time: one that a full disk has kept from being
    stored is passed also after a restart."""
    return replace(machine, sequence=max(machine.sequence, int(now * 1e9)))


def kernel_sent(machine: Machine, now: float) -> Machine:
    return _transition(machine, BOOTING, now, CAUSE_POWERED_ON) if machine.state == LOADING else machine


def failed(machine: Machine, cause: str, reason: str, now: float) -> Machine:
    """The request cannot be carried out; it counts as answered."""
    return _transition(machine, FAILED, now, cause, reason, boot=machine.requested_boot)


def booted(machine: Machine, run: int, at: float) -> Machine:
    """Its boot has ended. Unchanged when that is known, or of another run."""
    if machine.run != run or at < machine.since or machine.state == BOOTED:
        return machine
    return _transition(machine, BOOTED, at, CAUSE_SSH_ANSWERS)


def command_sent(machine: Machine, before: Machine, now: float) -> Machine:
    """Its system has taken the command that was pending in `before`. Unchanged when it boots again already."""
    if machine.run != before.run or machine.state != BOOTED:
        return machine
    boot = before.requested_boot
    if before.power_off:
        return _transition(machine, BOOTED, machine.since, CAUSE_STOP_REQUESTED, "told to switch itself off", boot=boot)
    return _transition(machine, DELAYING, now, CAUSE_REBOOT_REQUESTED, "told to reboot", boot=boot)


def unreachable(machine: Machine, now: float) -> Machine:
    if machine.state != BOOTED:
        return machine
    if machine.is_powering_off:
        return _transition(machine, STOPPED, now, CAUSE_STOP_REQUESTED, "it has switched itself off")
    return _transition(machine, STOPPED, now, CAUSE_NO_ANSWER, "it does not answer on its ssh port")


def reachable(machine: Machine, now: float) -> Machine:
    """A run that had stopped to answer answers again."""
    if machine.state != STOPPED or not machine.run:
        return machine
    power_off = machine.power_off and machine.boot < machine.requested_boot
    return _transition(machine, BOOTED, now, CAUSE_SSH_ANSWERS, "it answers again", power_off=power_off)


def timed_out(machine: Machine, now: float) -> Machine:
    """Unchanged unless it has been in its present state for too long."""
    if machine.state not in _TIMEOUTS:
        return machine
    limit_s, state, cause, reason = _TIMEOUTS[machine.state]
    return _transition(machine, state, now, cause, reason) if now > machine.since + limit_s else machine


def report(machine: Machine) -> VmReport:
    """A machine that boots or runs answers the spec that it booted with, any other the newest."""
    runs = machine.state in (LOADING, BOOTING, BOOTED)
    return VmReport(
        node_id=machine.node_id,
        name=machine.name,
        host=machine.host,
        boot=machine.boot if runs else machine.requested_boot,
        run=machine.run,
        sequence=machine.sequence,
        state=machine.state,
        since=machine.since,
        reason=machine.reason,
        cause=machine.cause,
    )


def _transition(machine: Machine, state: str, since: float, cause: str, reason: str = "", **fields: int) -> Machine:
    sequence = machine.sequence + 1
    new = replace(machine, state=state, since=since, cause=cause, reason=reason, sequence=sequence)
    return replace(new, **fields)  # type: ignore[arg-type]
