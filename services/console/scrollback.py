"""Decisions about the stream of one line. Pure.

A position (offset) in a line is the number of bytes before it since the line was made; it is also the position in
the line's file, whose old head is given back to the disk without moving what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.contracts.errors import InvalidRequest

KEPT_BYTES = 16 * 2**20  # at least so much stays: a viewer that is slower than a burst of that size misses nothing
TRIM_ABOVE_BYTES = 2 * KEPT_BYTES
BLOCK_BYTES = 64 * 2**10  # holes begin and end at blocks of the file system; no common one is larger


@dataclass(frozen=True)
class Extent:
    """What a line still has: the bytes from `start` to `end`; `power_on` is where the last boot began."""

    start: int
    end: int
    power_on: int = 0


@dataclass(frozen=True)
class Replay:
    """Where a viewer begins, and how many bytes it asked for that are no longer kept."""

    offset: int
    missed: int = 0


def replay(extent: Extent, asked: int | None) -> Replay:
    """From `asked`, or from the last power-on; InvalidRequest for a position that is not in the line."""
    if asked is None:
        return Replay(min(max(extent.start, extent.power_on), extent.end))
    if not 0 <= asked <= extent.end:
        raise InvalidRequest(f"offset {asked} is not in the line; allowed: 0 to {extent.end}")
    return Replay(max(asked, extent.start), max(0, extent.start - asked))


def head_to_drop(extent: Extent) -> int | None:
    """The position up to which the file is to be given back to the disk; None when it is not time yet."""
    if extent.end - extent.start <= TRIM_ABOVE_BYTES:
        return None
    return (extent.end - KEPT_BYTES) // BLOCK_BYTES * BLOCK_BYTES
