"""How the boots of each node went, since this process started. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from services.contracts.vmrunner import BOOTED, BOOTING, FAILED
from services.vmrunner.lifecycle import NO_BOOT_WITHIN, Machine

ENDED_BOOTED = "booted"
TIMED_OUT = "timed_out"
ENDED = "ended"
HOST_FAILED = "failed"
OUTCOMES = (ENDED_BOOTED, TIMED_OUT, ENDED, HOST_FAILED)


def outcome(old: Machine, new: Machine) -> str:
    """A boot ends booted, timed out or ended (before it was booted); a power-on that the host refused is failed.
    '' when no boot ends here."""
    if new.state == BOOTED:
        return ENDED_BOOTED
    if new.state == FAILED and new.due:
        return HOST_FAILED
    if old.state == BOOTING:
        return TIMED_OUT if new.reason.startswith(NO_BOOT_WITHIN) else ENDED
    return ""


class BootBook:
    """By node id, so that a node that is renamed takes its figures along, and one that is removed leaves none."""

    def __init__(self) -> None:
        self._of: dict[int, Counter[str]] = {}

    def count(self, old: Machine, new: Machine) -> None:
        ended = outcome(old, new)
        if ended:
            self._of.setdefault(new.node_id, Counter())[ended] += 1

    def of(self, node_id: int) -> Mapping[str, int]:
        return self._of.get(node_id, Counter())

    def forget(self, node_id: int) -> None:
        self._of.pop(node_id, None)
