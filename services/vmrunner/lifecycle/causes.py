"""Why the host could not start a VM, as a code. Pure."""

from __future__ import annotations

from services.vmrunner.boot.script_parser import ScriptError
from walt.contracts.errors import Unreachable
from walt.contracts.vmrunner import CAUSE_BOOT_SCRIPT, CAUSE_CANNOT_START, CAUSE_PEER_AWAY


def cause_of(error: Exception) -> str:
    if isinstance(error, Unreachable):
        return CAUSE_PEER_AWAY
    return CAUSE_BOOT_SCRIPT if isinstance(error, ScriptError) else CAUSE_CANNOT_START
