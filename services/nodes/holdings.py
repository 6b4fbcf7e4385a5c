"""Pure: what a command would destroy of the data that nodes keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.nodes import disks
from services.nodes.model import Asked, Holding, Node


class Unasked(Exception):
    """The command would destroy what is in these, and nobody has looked into them yet."""

    def __init__(self, holdings: Sequence[Holding]) -> None:
        super().__init__(*(f"{one.node}: {one.what}" for one in holdings))
        self.holdings = holdings


def check(asked: Asked, before: Iterable[Node], after: Iterable[Node]) -> None:
    """Unasked when data may go with this change that was not known to be none, nor given up by force."""
    lost = [one for old, new in zip(before, after, strict=True) for one in _lost(old, new)]
    unasked = [one for one in lost if one not in asked.empty]
    if unasked and not asked.force:
        raise Unasked(unasked)


def _lost(old: Node, new: Node) -> list[Holding]:
    if old.is_free:
        return []  # it was emptied when it became free: nobody's data is on it
    kept = {disk.id for disk in new.disks} if new.is_present else set()
    lost = [
        Holding(old.id, old.name, old.host, old.owner, disks.label(place, disk), disk.id)
        for place, disk in enumerate(old.disks)
        if disk.id not in kept
    ]
    if not new.is_present:  # of former owners too, who find theirs again when the node is theirs again
        lost.append(Holding(old.id, old.name, old.host, old.owner, "/persist"))
    return lost
