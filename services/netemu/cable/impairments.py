"""Pure: the random impairments of the frames of one direction, one after the other.

The impairment of a frame depends only on the seed and on how many frames came before it: each frame draws the same
count of random numbers, whatever the options are. With the same seed, the frames lost at 1 % are a subset of those lost
at 2 %.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from statistics import NormalDist

from walt.contracts.links import Direction, Distribution

PPM = 1_000_000
_ADDRESSES = 12  # bytes; a link never changes who gets a frame


class Impairment:
    """Of one frame. copies: 0 when it is lost; jitter_ns: positive or negative; overtakes: it skips the delay;
    corrupt_at: where a bit is inverted (from 0, the first, to 1, the last), None for nowhere."""

    __slots__ = ("copies", "jitter_ns", "overtakes", "corrupt_at")

    def __init__(self, copies: int, jitter_ns: int, overtakes: bool, corrupt_at: float | None) -> None:
        self.copies = copies
        self.jitter_ns = jitter_ns
        self.overtakes = overtakes
        self.corrupt_at = corrupt_at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Impairment) and self.values() == other.values()

    def values(self) -> tuple[int, int, bool, float | None]:
        return self.copies, self.jitter_ns, self.overtakes, self.corrupt_at


def random_options(direction: Direction) -> tuple[int, ...]:
    """The values that random impairments depend on; when one changes, the sequence starts again."""
    return (
        direction.jitter_us,
        direction.loss_ppm,
        direction.duplicate_ppm,
        direction.corrupt_ppm,
        direction.reorder_ppm,
        direction.burst_frames,
        direction.distribution,
        direction.seed,
    )


def is_per_frame(direction: Direction) -> bool:
    """Whether the options treat each frame on the wire separately, instead of its bytes only."""
    return bool(direction.limit_frames or direction.trace) or impairments_of(direction) is not None


def impairments_of(direction: Direction) -> ImpairmentSequence | None:
    """None where nothing is random."""
    *shares, _seed = random_options(direction)
    return ImpairmentSequence(direction) if any(shares) else None


class ImpairmentSequence:
    """The sequence of impairments of one direction."""

    __slots__ = (
        "_random",
        "_jitter_ns",
        "_deviation",
        "_burst_frames",
        "_loss_ppm",
        "_loss",
        "_stays_lost",
        "_in_burst",
        "_duplicate",
        "_corrupt",
        "_reorder",
    )

    def __init__(self, direction: Direction) -> None:
        self._random = Random(direction.seed or None).random  # of seed 0: from the system
        self._jitter_ns = direction.jitter_us * 1000
        self._deviation = _DEVIATIONS[Distribution(direction.distribution)]
        self._burst_frames = direction.burst_frames
        self._loss_ppm = -1
        self.lose(direction.loss_ppm)
        self._in_burst = False
        self._duplicate = direction.duplicate_ppm / PPM
        self._corrupt = direction.corrupt_ppm / PPM
        self._reorder = direction.reorder_ppm / PPM

    def lose(self, loss_ppm: int) -> None:
        """Such a share from now on, as a trace says."""
        if loss_ppm != self._loss_ppm:
            self._loss_ppm = loss_ppm
            self._loss, self._stays_lost = loss_chances(loss_ppm, self._burst_frames)

    def next(self) -> Impairment:
        draw = self._random
        loss, duplicate, corrupt, position, reorder, delay = draw(), draw(), draw(), draw(), draw(), draw()
        self._in_burst = loss < (self._stays_lost if self._in_burst else self._loss)
        return Impairment(
            # Lost and duplicated: one of the two copies still arrives.
            1 + (duplicate < self._duplicate) - self._in_burst,
            int(self._deviation(delay) * self._jitter_ns) if self._jitter_ns else 0,
            reorder < self._reorder,
            position if corrupt < self._corrupt else None,
        )


def loss_chances(loss_ppm: int, burst_frames: int) -> tuple[float, float]:
    """The chance that a frame is lost after one that arrived, and after one that was lost.

    With a mean burst, as in the simple Gilbert model: a burst ends with a chance of 1/burst, and begins as often as it
    takes to lose the share that was asked for.
    """
    loss = loss_ppm / PPM
    if not burst_frames or loss >= 1:
        return loss, loss
    ends = 1 / burst_frames
    return min(1.0, ends * loss / (1 - loss)), 1 - ends


def _uniform(quantile: float) -> float:
    return 2 * quantile - 1


def _normal(quantile: float) -> float:
    return max(-3.0, min(3.0, _NORMAL.inv_cdf(quantile or _SMALLEST)))


def _pareto(quantile: float) -> float:
    """Of shape 3, cut at 5 times its least value: its mean is 1.48 then, its standard deviation 0.64."""
    return float((min(5.0, (1 - quantile) ** (-1 / 3)) - 1.48) / 0.64)


def _paretonormal(quantile: float) -> float:
    """The two from the upper and the lower half of the bits of one number: each frame draws as many numbers as ever."""
    upper, lower = divmod(quantile * _HALF, 1)
    return (0.25 * _normal(upper / _HALF) + 0.75 * _pareto(lower)) / _PARETONORMAL_DEVIATION


_NORMAL = NormalDist()
_SMALLEST = 2.0**-53  # random() can return 0
_HALF = 2**26
_PARETONORMAL_DEVIATION = (0.25**2 + 0.75**2) ** 0.5
_DEVIATIONS: dict[Distribution, Callable[[float], float]] = {
    Distribution.UNIFORM: _uniform,
    Distribution.NORMAL: _normal,
    Distribution.PARETO: _pareto,
    Distribution.PARETONORMAL: _paretonormal,
}


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
