"""Pure: which data of nodes a command would destroy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.nodes.domain import disks
from services.nodes.domain.model import Node, RequestContext, Volume


class MustInspect(Exception):
    """The command would destroy these volumes, and they have not been inspected for data yet."""

    def __init__(self, volumes: Sequence[Volume]) -> None:
        super().__init__(*(f"{volume.node}: {volume.label}" for volume in volumes))
        self.volumes = volumes


def check(context: RequestContext, before: Iterable[Node], after: Iterable[Node]) -> None:
    """MustInspect when this change destroys volumes that are not known to be empty, unless it is forced."""
    lost = [volume for old, new in zip(before, after, strict=True) for volume in _lost(old, new)]
    unknown = [volume for volume in lost if volume not in context.known_empty]
    if unknown and not context.force:
        raise MustInspect(unknown)


def _lost(old: Node, new: Node) -> list[Volume]:
    if old.is_free:
        return []  # its disks were replaced by empty ones when it became free
    kept = {disk.id for disk in new.disks} if new.is_present else set()
    lost = [
        Volume(old.id, old.name, old.disks_host, old.owner, disks.label(position, disk), disk.id)
        for position, disk in enumerate(old.disks)
        if disk.id not in kept
    ]
    if not new.is_present:  # also that of former owners: they get it back with the node
        lost.append(Volume(old.id, old.name, old.disks_host, old.owner, "/persist", is_virtual=old.is_virtual))
    return lost
