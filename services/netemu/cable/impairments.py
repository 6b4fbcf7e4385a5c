"""Pure: the random impairments of the frames of one direction, one after the other.

The impairment of a frame depends only on the seed and on how many frames came before it: each frame draws the same
count of random numbers, whatever the options are. With the same seed, the frames lost at 1 % are a subset of those lost
at 2 %.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from walt.contracts.links import Direction

PPM = 1_000_000
_ADDRESSES = 12  # bytes; a link never changes who gets a frame


class Impairment(NamedTuple):
    """Of one frame. copies: 0 when it is lost; jitter_ns: positive or negative; overtakes: it skips the delay;
    corrupt_at: where a bit is inverted (from 0, the first, to 1, the last), None for nowhere."""

    copies: int
    jitter_ns: int
    overtakes: bool
    corrupt_at: float | None


def random_options(direction: Direction) -> tuple[int, ...]:
    """The values that random impairments depend on; when one changes, the sequence starts again."""
    return (
        direction.jitter_us,
        direction.loss_ppm,
        direction.duplicate_ppm,
        direction.corrupt_ppm,
        direction.reorder_ppm,
        direction.seed,
    )


def is_per_frame(direction: Direction) -> bool:
    """Whether the options treat each frame on the wire separately, instead of its bytes only."""
    return bool(direction.limit_frames) or impairments_of(direction) is not None


def impairments_of(direction: Direction) -> ImpairmentSequence | None:
    """None where nothing is random."""
    *shares, _seed = random_options(direction)
    return ImpairmentSequence(direction) if any(shares) else None


class ImpairmentSequence:
    """The sequence of impairments of one direction."""

    __slots__ = ("_random", "_jitter_ns", "_loss", "_duplicate", "_corrupt", "_reorder")

    def __init__(self, direction: Direction) -> None:
        self._random = Random(direction.seed or None).random  # of seed 0: from the system
        self._jitter_ns = direction.jitter_us * 1000
        self._loss = direction.loss_ppm / PPM
        self._duplicate = direction.duplicate_ppm / PPM
        self._corrupt = direction.corrupt_ppm / PPM
        self._reorder = direction.reorder_ppm / PPM

    def next(self) -> Impairment:
        draw = self._random
        loss, duplicate, corrupt, position, reorder, delay = draw(), draw(), draw(), draw(), draw(), draw()
        return Impairment(
            # Lost and duplicated: one of the two copies still arrives.
            copies=1 + (duplicate < self._duplicate) - (loss < self._loss),
            jitter_ns=int((2 * delay - 1) * self._jitter_ns),
            overtakes=reorder < self._reorder,
            corrupt_at=position if corrupt < self._corrupt else None,
        )


def corrupted(frame: bytes, header: int, position: float) -> bytes:
    """The frame with one bit inverted after its addresses.

    Its virtio_net_hdr of `header` bytes is cleared: it would declare the checksum valid, and the receiver would not
    check. The checksum must be complete then, so such a port takes no frames with offloaded work (see switch.py).
    """
    first = header + _ADDRESSES
    bit = int(position * 8 * (len(frame) - first))
    changed = bytearray(frame)
    changed[first + bit // 8] ^= 1 << bit % 8
    changed[:header] = bytes(header)
    return bytes(changed)
