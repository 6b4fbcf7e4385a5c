"""A device in one of the slots for interfaces. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PluggedDevice:
    """What is in a slot of the guest. network_id: None for what has no such id: of a version before, or no interface.
    is_leaving: it is connected to nothing any more, and waits for the guest to let it go."""

    slot: int
    network_id: int | None
    is_leaving: bool = False
