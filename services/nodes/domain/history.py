"""Pure: whether what an agent has obeyed is part of the history of this registry.

A registry counts its changes (`sequence`) and begins a new epoch, named at random, at each start of nodes. An agent
remembers the last revision that it obeyed. One that a registry does not have in its history is of a registry that went
another way: this one was restored from a backup of before, or is another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from walt.contracts.errors import Conflict
from walt.contracts.nodes import Revision

EPOCHS_KEPT = 1000
SKIPPED_BITS = 24  # of an id, which has 31: some hundred restorations are possible
FIRST_MOMENT = 1_735_689_600  # 2025-01-01: ids begin at the seconds since then


@dataclass(frozen=True)
class Dispute:
    """What an agent (vmrunner@local) has obeyed and this registry does not know. at: epoch seconds of the report."""

    agent: str
    revision: Revision
    at: float


def is_known(found: Revision, epochs: Mapping[str, int | None]) -> bool:
    """epochs: the last sequence of each in this history; None: an administrator accepted all of it."""
    if found.epoch not in epochs:
        return False
    last = epochs[found.epoch]
    return last is None or found.sequence <= last


def first_id(last_id: int, now: float) -> int:
    """Ids of a new epoch come after this one. They follow the time, so that they do not repeat those of a registry that
    was lost long ago."""
    return max(last_id, int(now) - FIRST_MOMENT)


def id_after_loss(last_id: int, now: float, draw: Callable[[int], int]) -> int:
    """For a registry that takes the place of one that was lost a moment ago, and that may have given many ids since its
    start: a place that none of them has, but for a chance of some in 2**24. draw: as random.getrandbits."""
    return first_id(last_id, now) + draw(SKIPPED_BITS)


def undecided(disputes: Sequence[Dispute]) -> str:
    """'' when there is no dispute."""
    if not disputes:
        return ""
    agents = ", ".join(one.agent for one in disputes)
    return (
        f"this registry is not the one that {agents} last obeyed: it was restored from a backup, or exchanged; "
        "nothing is changed or removed until an administrator decides"
    )


HOW_TO_DECIDE = (
    "either put the newer database back, or take this one: walt registry accept "
    "(nodes that it does not know are removed with their disks)"
)


def check_undisputed(disputes: Sequence[Dispute]) -> None:
    fault = undecided(disputes)
    if fault:
        raise Conflict(f"{fault}: {HOW_TO_DECIDE}")
