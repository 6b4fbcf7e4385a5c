"""Pure: one direction of a link as options of the kernel's netem, and what netem cannot do.

netem sorts frames by their delay, so jitter or a lowered delay would re-order them; with a rate it counts the delay
from the frame before. So a rate is always set: where none is requested, one that takes no time. Frames that overtake
skip netem's rate too, its jitter is a signed 32-bit number of ns, and any change of a queue, even of its delay only,
restarts its random sequence. Its tables of distributions are no part of the kernel, and its bursts (gemodel) do not
restart with a queue; it knows no traces. Links that need more go through the cable.
"""

from __future__ import annotations

from typing import Any

from walt.contracts.links import MAX_DELAYED_FRAMES, Direction, LinkModel

PPM = 1_000_000
MAX_JITTER_US = (2**31 - 1) // 1000
NO_TIME_BYTES_PER_S = 10**12
QUEUE_US = 100_000  # how long frames may queue for the rate, as in the cable
FULL_FRAME_BITS = 1514 * 8
SMALL_FRAME_BITS = 64 * 8
UNLIMITED_BPS = 10_000_000_000  # a delay without a rate must hold all that a fast guest sends meanwhile
_U32 = 2**32 - 1


def exceeds_netem(link: LinkModel) -> bool:
    """Whether this link needs more than netem can do."""
    return any(
        way.seed
        or way.burst_frames
        or way.distribution
        or way.trace
        or (way.reorder_ppm and way.rate_bps)
        or way.jitter_us > MAX_JITTER_US
        for way in (link.up, link.down)
    )


def options(direction: Direction) -> dict[str, Any]:
    """struct tc_netem_qopt and its attributes; all of them each time, since netem keeps the value of any that is
    missing."""
    rate = direction.rate_bps // 8 or NO_TIME_BYTES_PER_S
    return {
        "delay": 0,  # in ticks of the kernel; as nanoseconds below
        "jitter": 0,
        "limit": direction.limit_frames or queue_frames(direction),
        "loss": _share(direction.loss_ppm),
        "duplicate": _share(direction.duplicate_ppm),
        "gap": int(direction.reorder_ppm > 0),
        "attrs": [
            ("TCA_NETEM_LATENCY64", direction.latency_us * 1000),
            ("TCA_NETEM_JITTER64", direction.jitter_us * 1000),
            ("TCA_NETEM_REORDER", {"prob_reorder": _share(direction.reorder_ppm), "corr_reorder": 0}),
            ("TCA_NETEM_CORRUPT", {"prob_corrupt": _share(direction.corrupt_ppm), "corr_corrupt": 0}),
            ("TCA_NETEM_RATE", {"rate": min(rate, _U32), "packet_overhead": 0, "cell_size": 0, "cell_overhead": 0}),
            ("TCA_NETEM_RATE64", rate),
        ],
    }


def queue_frames(direction: Direction) -> int:
    """netem's `limit` counts delayed frames too: room for all of them, and for those that queue for 100 ms."""
    rate_bps = direction.rate_bps or UNLIMITED_BPS
    delay_us = direction.latency_us + direction.jitter_us
    delayed = rate_bps * delay_us // 1_000_000 // (SMALL_FRAME_BITS if direction.rate_bps else FULL_FRAME_BITS)
    waiting = rate_bps * max(delay_us, QUEUE_US) // 1_000_000 // FULL_FRAME_BITS
    return min(MAX_DELAYED_FRAMES, max(100, delayed + waiting))


def _share(ppm: int) -> int:
    return ppm * _U32 // PPM
