"""How a qemu ended, from what its monitor announced. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from walt.contracts.vmrunner import (
    CAUSE_CRASHED,
    CAUSE_ENDED,
    CAUSE_ENDED_UNSEEN,
    CAUSE_GUEST_HALTED,
    CAUSE_GUEST_PANICKED,
    CAUSE_GUEST_POWERED_OFF,
    CAUSE_GUEST_REBOOTED,
    CAUSE_KILLED,
)


@dataclass(frozen=True)
class Ending:
    """cause: one of CAUSE_…; sentence: the same for people."""

    cause: str
    sentence: str


CRASHED = Ending(CAUSE_CRASHED, "qemu crashed")
ENDED_UNSEEN = Ending(CAUSE_ENDED_UNSEEN, "its qemu ended while vmrunner was away")
GUEST_REBOOTED = Ending(CAUSE_GUEST_REBOOTED, "the guest rebooted")
GUEST_POWERED_OFF = Ending(CAUSE_GUEST_POWERED_OFF, "the guest powered off")
GUEST_HALTED = Ending(CAUSE_GUEST_HALTED, "the guest halted")
QEMU_QUIT = Ending(CAUSE_KILLED, "qemu was told to quit")

_ENDINGS = {
    "guest-reset": GUEST_REBOOTED,
    "guest-shutdown": GUEST_POWERED_OFF,
    "guest-panic": Ending(CAUSE_GUEST_PANICKED, "the guest panicked"),
    "host-qmp-quit": QEMU_QUIT,
    "host-signal": Ending(CAUSE_KILLED, "qemu was ended by a signal"),
}


def ending(shutdown_reason: str | None) -> Ending:
    """shutdown_reason: of qemu's SHUTDOWN event (ShutdownCause in QMP), None when it ended without one."""
    if shutdown_reason is None:
        return CRASHED
    return _ENDINGS.get(shutdown_reason, Ending(CAUSE_ENDED, f"qemu: {shutdown_reason}"))
