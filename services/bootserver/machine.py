"""One physical node, as bootserver sees it from outside: what it fetches, and whether its ssh server greets. Pure.

There is no switch for its power. A boot or an end that is asked is told to its system over ssh, now if it has booted, else
as soon as it has; a machine that does not answer boots what is wanted when somebody switches it on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.contracts.nodes import POWER_OFF, NodeWanted
from services.contracts.vmrunner import BOOTED, BOOTING, DELAYING, FAILED, LOADING, STOPPED, VmReport

BOOT_LIMIT_S = 300.0  # from its script to its ssh server
RETURN_LIMIT_S = 600.0  # from being told to reboot to its script: firmware takes its time
OFF_LIMIT_S = 120.0  # from being told to switch itself off to silence

_COMING = {
    LOADING: (BOOT_LIMIT_S, FAILED, f"its ssh server has not answered within {BOOT_LIMIT_S:g} s"),
    BOOTING: (BOOT_LIMIT_S, FAILED, f"its ssh server has not answered within {BOOT_LIMIT_S:g} s"),
    DELAYING: (RETURN_LIMIT_S, STOPPED, f"told to reboot, it has not come back within {RETURN_LIMIT_S:g} s"),
}


@dataclass(frozen=True)
class Machine:
    """asked: NodeWanted.boot of the newest wish, off: that it is to end; boot: of the wish that its run answers.
    The rest is as in VmReport."""

    node_id: int
    name: str
    host: str
    ip: str
    asked: int
    boot: int
    run: int
    sequence: int
    state: str
    since: float
    reason: str = ""
    off: bool = False

    @property
    def must_be_told(self) -> bool:
        return self.state == BOOTED and self.boot < self.asked

    @property
    def must_fall_silent(self) -> bool:
        """It was told to switch itself off."""
        return self.state == BOOTED and self.boot == self.asked and self.off


def unseen(wanted: NodeWanted, now: float) -> Machine:
    """A node of which nothing is known here but the wish."""
    reason = "it has not booted since bootserver knows it"
    return Machine(wanted.id, wanted.name, wanted.host, wanted.ip, wanted.boot, 0, 0, 1, STOPPED, now, reason)


def begun(known: Machine | None, wanted: NodeWanted, now: float) -> Machine:
    """It asks what to boot: the present wish is what it gets. An end that it could not be told yet remains to be told."""
    new = wished(known or unseen(wanted, now), wanted)
    to_end = new.off and new.boot < new.asked
    boot = new.boot if to_end else wanted.boot
    return _turned(new, LOADING, now, run=new.run + 1, boot=boot, off=to_end)


def wished(machine: Machine, wanted: NodeWanted) -> Machine:
    """The same when this is not new. One that does not answer is as it should be when it is to end."""
    machine = replace(machine, name=wanted.name, host=wanted.host, ip=wanted.ip)
    if wanted.boot <= machine.asked:
        return machine
    off = wanted.power == POWER_OFF
    is_done = off and machine.state in (STOPPED, FAILED)
    boot = wanted.boot if is_done else machine.boot
    return replace(machine, asked=wanted.boot, boot=boot, off=off, sequence=machine.sequence + 1)


def kernel_sent(machine: Machine, now: float) -> Machine:
    return _turned(machine, BOOTING, now) if machine.state == LOADING else machine


def failed(machine: Machine, reason: str, now: float) -> Machine:
    return _turned(machine, FAILED, now, reason, boot=machine.asked)


def booted(machine: Machine, run: int, at: float) -> Machine:
    """Its boot has ended. The same when this is known, or of another run."""
    if machine.run != run or at < machine.since or machine.state == BOOTED:
        return machine
    return _turned(machine, BOOTED, at)


def told(machine: Machine, before: Machine, now: float) -> Machine:
    """Its system has taken what was wanted of it `before`. The same when it was faster, and boots anew already."""
    if machine.run != before.run or machine.state != BOOTED:
        return machine
    if before.off:
        return _turned(machine, BOOTED, machine.since, "told to switch itself off", boot=before.asked)
    return _turned(machine, DELAYING, now, "told to reboot", boot=before.asked)


def silent(machine: Machine, now: float) -> Machine:
    if machine.state != BOOTED:
        return machine
    reason = "it has switched itself off" if machine.must_fall_silent else "it does not answer on its ssh port"
    return _turned(machine, STOPPED, now, reason)


def answering(machine: Machine, now: float) -> Machine:
    """The run that had fallen silent answers again."""
    if machine.state != STOPPED or not machine.run:
        return machine
    return _turned(machine, BOOTED, now, "it answers again", off=machine.off and machine.boot < machine.asked)


def overdue(machine: Machine, now: float) -> Machine:
    """The same unless it has been on its way for too long."""
    limit_s, state, reason = _COMING.get(machine.state, (0.0, "", ""))
    return _turned(machine, state, now, reason) if state and now > machine.since + limit_s else machine


def report(machine: Machine) -> VmReport:
    """What boots or runs answers the wish that it booted with; what does not answers the newest."""
    runs = machine.state in (LOADING, BOOTING, BOOTED)
    return VmReport(
        node_id=machine.node_id,
        name=machine.name,
        host=machine.host,
        boot=machine.boot if runs else machine.asked,
        run=machine.run,
        sequence=machine.sequence,
        state=machine.state,
        since=machine.since,
        reason=machine.reason,
    )


def _turned(machine: Machine, state: str, since: float, reason: str = "", **fields: int) -> Machine:
    sequence = machine.sequence + 1
    return replace(machine, state=state, since=since, reason=reason, sequence=sequence, **fields)  # type: ignore[arg-type]
