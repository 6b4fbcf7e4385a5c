"""Pure: which disk each item of the `disks` setting is.

A disk keeps its identity, so its file, when others are inserted before it or removed, and when it grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from walt.contracts.disks import DiskUse, format_disk
from walt.contracts.nodes import Disk

NEW = 0  # the id of a disk that the registry has not numbered yet

EXACT = (1, 0)
GROWN = (0, 1)


def new_disks(uses: Sequence[DiskUse]) -> tuple[Disk, ...]:
    return tuple(Disk(NEW, use.size_bytes, use.template) for use in uses)


def match_disks(disks: Sequence[Disk], uses: Sequence[DiskUse]) -> tuple[Disk, ...]:
    """The disk of each use. As many disks as possible are kept unchanged, then as many as possible kept and grown; the
    rest is new. Kept disks stay in their order: a disk that changes places with another one is new."""
    same = _pairs(disks, uses)
    return tuple(
        Disk(disks[same[position]].id if position in same else NEW, use.size_bytes, use.template)
        for position, use in enumerate(uses)
    )


def label(position: int, disk: Disk) -> str:
    """As users know it: 'vda (32G[template=ext4])'."""
    return f"vd{chr(ord('a') + position)} ({format_disk(DiskUse(disk.size_bytes, disk.template))})"


def with_new_ids(disks: Sequence[Disk]) -> tuple[Disk, ...]:
    """Other, empty disks of the same sizes and templates."""
    return tuple(replace(disk, id=NEW) for disk in disks)


def _pairs(disks: Sequence[Disk], uses: Sequence[DiskUse]) -> dict[int, int]:
    """{index in uses: index in disks} of the best alignment: a longest common subsequence that also matches growth."""

    @cache
    def best(old: int, new: int) -> tuple[int, int]:
        """(exact, grown) pairs among disks[old:] and uses[new:]."""
        if old == len(disks) or new == len(uses):
            return (0, 0)
        return max(best(old + 1, new), best(old, new + 1), paired(old, new))

    def paired(old: int, new: int) -> tuple[int, int]:
        quality, rest = _match_quality(disks[old], uses[new]), best(old + 1, new + 1)
        return (quality[0] + rest[0], quality[1] + rest[1])

    found: dict[int, int] = {}
    old = new = 0
    while best(old, new) != (0, 0):
        if _match_quality(disks[old], uses[new]) != (0, 0) and paired(old, new) == best(old, new):
            found[new] = old
            old, new = old + 1, new + 1
        elif best(old, new + 1) == best(old, new):
            new += 1
        else:
            old += 1
    return found


def _match_quality(disk: Disk, use: DiskUse) -> tuple[int, int]:
    if disk.template != use.template or disk.size_bytes > use.size_bytes:
        return (0, 0)
    return EXACT if disk.size_bytes == use.size_bytes else GROWN
