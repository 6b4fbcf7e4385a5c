"""Pure: which VMs are paused while their host's disk is nearly full, so that registry and broker keep their room.

Only those that go on taking space: the others of this host run on. All run again once there is room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RELIEF = 1.25  # of the floor: what must be free again, so that a VM is not paused and resumed in turns


@dataclass(frozen=True)
class Space:
    """is_low: whether less than the floor was free, and there was no relief since. taken: {node id: bytes on the disk}
    from then on, at the first sight of each; paused: node ids."""

    is_low: bool = False
    taken: Mapping[int, int] = field(default_factory=dict)
    paused: frozenset[int] = frozenset()


def watch(before: Space, free_bytes: int, floor_bytes: int, taken: Mapping[int, int]) -> Space:
    """taken: of the VMs that run, looked at only while it is low."""
    limit_bytes = floor_bytes * RELIEF if before.is_low else floor_bytes
    if free_bytes >= limit_bytes:
        return Space()
    first = {**taken, **{one: size for one, size in before.taken.items() if one in taken}}
    growing = {one for one, size in taken.items() if size > first[one]}
    return Space(True, first, frozenset((before.paused | growing) & taken.keys()))
