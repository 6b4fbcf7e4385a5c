"""How the boots of each node ended, since this process started. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from services.vmrunner.lifecycle.transitions import VmRecord
from walt.contracts.vmrunner import BOOTED, BOOTING, CAUSE_NO_BOOT, FAILED

ENDED_BOOTED = "booted"
TIMED_OUT = "timed_out"
ENDED = "ended"
HOST_FAILED = "failed"
OUTCOMES = (ENDED_BOOTED, TIMED_OUT, ENDED, HOST_FAILED)


def outcome(old: VmRecord, new: VmRecord) -> str:
    """A boot ends booted, timed out or ended (before it was booted); a power-on that the host could not do is failed.
    "" when no boot ends here."""
    if new.state == BOOTED:
        return ENDED_BOOTED if old.state != BOOTED else ""
    if new.state == FAILED and new.due:
        return HOST_FAILED
    if old.state == BOOTING and new.state != BOOTING:
        return TIMED_OUT if new.cause == CAUSE_NO_BOOT else ENDED
    return ""


class BootCounts:
    """By node id, so that a node that is renamed keeps its counts, and one that is removed leaves none."""

    def __init__(self) -> None:
        self._of: dict[int, Counter[str]] = {}

    def count(self, old: VmRecord, new: VmRecord) -> None:
        ended = outcome(old, new)
        if ended:
            self._of.setdefault(new.node_id, Counter())[ended] += 1

    def of(self, node_id: int) -> Mapping[str, int]:
        return self._of.get(node_id, Counter())

    def forget(self, node_id: int) -> None:
        self._of.pop(node_id, None)
