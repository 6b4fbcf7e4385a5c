"""Pure: what chance does to the frames of one direction, one after the other.

The fate of a frame depends on nothing but the seed and how many frames came before it: each draws the same count of
random numbers, whatever is asked, so that with the same seed 2 % of loss loses all that 1 % lost.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from services.contracts.links import Direction

PPM = 1_000_000
_ADDRESSES = 12  # bytes; who gets the frame is not the link's business


class Fate(NamedTuple):
    """copies: 0 when it is lost; jitter_ns: either way; overtakes: it skips the delay;
    corrupt_at: where a bit is inverted (0 first, 1 last), None for nowhere."""

    copies: int
    jitter_ns: int
    overtakes: bool
    corrupt_at: float | None


def random_part(direction: Direction) -> tuple[int, ...]:
    """The values that make fates; when these change, the sequence begins anew."""
    return (
        direction.jitter_us,
        direction.loss_ppm,
        direction.duplicate_ppm,
        direction.corrupt_ppm,
        direction.reorder_ppm,
        direction.seed,
    )


def tells_frames_apart(direction: Direction) -> bool:
    """Whether what is asked holds for each frame on the wire, not for so many bytes of them."""
    return bool(direction.limit_frames) or fates_of(direction) is not None


def fates_of(direction: Direction) -> Fates | None:
    """None where nothing is left to chance."""
    *shares, _seed = random_part(direction)
    return Fates(direction) if any(shares) else None


class Fates:
    """The sequence of fates of one direction."""

    __slots__ = ("_random", "_jitter_ns", "_loss", "_duplicate", "_corrupt", "_reorder")

    def __init__(self, direction: Direction) -> None:
        self._random = Random(direction.seed or None).random  # of seed 0: from the system
        self._jitter_ns = direction.jitter_us * 1000
        self._loss = direction.loss_ppm / PPM
        self._duplicate = direction.duplicate_ppm / PPM
        self._corrupt = direction.corrupt_ppm / PPM
        self._reorder = direction.reorder_ppm / PPM

    def next(self) -> Fate:
        draw = self._random
        loss, duplicate, corrupt, place, reorder, delay = draw(), draw(), draw(), draw(), draw(), draw()
        return Fate(
            copies=1 + (duplicate < self._duplicate) - (loss < self._loss),  # both: one of the two arrives
            jitter_ns=int((2 * delay - 1) * self._jitter_ns),
            overtakes=reorder < self._reorder,
            corrupt_at=place if corrupt < self._corrupt else None,
        )


def corrupted(frame: bytes, header: int, place: float) -> bytes:
    """The frame with one bit inverted behind its addresses.

    Its virtio_net_hdr of `header` bytes is emptied: that would vouch for the checksum, and the receiver not look. The
    checksum must be complete then, so such a port takes no frames with offloaded work (see switch.py).
    """
    first = header + _ADDRESSES
    bit = int(place * 8 * (len(frame) - first))
    changed = bytearray(frame)
    changed[first + bit // 8] ^= 1 << bit % 8
    changed[:header] = bytes(header)
    return bytes(changed)
