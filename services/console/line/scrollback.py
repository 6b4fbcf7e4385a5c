"""Which bytes of a recording a viewer gets, and which are dropped. Pure.

An offset in a line is the number of bytes before it since the line was made. It is also the offset in the recording,
whose old head is given back to the disk without moving what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from walt.contracts.errors import InvalidRequest

KEPT_BYTES = 16 * 2**20  # the least that is kept: a viewer that lags by a burst of that size misses nothing
TRIM_ABOVE_BYTES = 2 * KEPT_BYTES
BLOCK_BYTES = 64 * 2**10  # holes begin and end at blocks of the file system; no common one has larger blocks


@dataclass(frozen=True)
class Extent:
    """What is there: the bytes from `start` to `end`; `power_on` is the offset of the last power-on."""

    start: int
    end: int
    power_on: int = 0


@dataclass(frozen=True)
class Replay:
    """offset: where a viewer starts. missed: how many of the bytes that it requested are no longer kept."""

    offset: int
    missed: int = 0


def replay(extent: Extent, requested: int | None) -> Replay:
    """From the requested offset, or from the last power-on; InvalidRequest for an offset outside the line."""
    if requested is None:
        return Replay(min(max(extent.start, extent.power_on), extent.end))
    if not 0 <= requested <= extent.end:
        raise InvalidRequest(f"offset {requested} is not in the line; allowed: 0 to {extent.end}")
    return Replay(max(requested, extent.start), max(0, extent.start - requested))


def head_to_drop(extent: Extent) -> int | None:
    """The offset before which everything can be given back to the disk; None while that is not worth it."""
    if extent.end - extent.start <= TRIM_ABOVE_BYTES:
        return None
    return (extent.end - KEPT_BYTES) // BLOCK_BYTES * BLOCK_BYTES
