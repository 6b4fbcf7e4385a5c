"""Pure: a node's own share of a round trip, from the round-trip times of pings by the server.

Even a plain bridge between two nodes takes time: in and out through the taps, a vCPU that must wake up. The round
trip of a ping from the server is the node's share (in and out). Subtracted from the outgoing delay of each node, it
makes the sum over both ends of a link exactly what was requested. Right after its boot a node is still busy, so it is
measured until its times are stable, at first more often than later.

A virtual CPU that has slept long wakes up late (here 0.9 ms after 200 ms of sleep, 0.7 ms after 20 ms). Of the two ends
of an exchange one sleeps long, the other only until the answer comes: so pings are sent in pairs, one after a long
pause, one after a short one.

On a loaded host the times of one round differ widely. They then do not predict the next exchange, and subtracting too
much would make a link faster than requested: so the lowest time counts, until they are close together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from walt.contracts.links import LinkModel

PAIRS = 5
PING_BITS = 98 * 8  # as a frame
KEPT = 0.8  # share of the pings of a round: the slowest were disturbed by something else
STEADY_RATIO = 0.6  # how far the times of a round may differ, outliers left out
CONVERGED_RATIO = 0.10
CONVERGED_US = 60
MAX_ROUNDS = 20
BUSY_PAUSE_S = 0.5
FIRST_CONVERGED_PAUSE_S = 5.0
CONVERGED_PAUSE_S = 60.0
WEIGHT = 0.25
MIN_CHANGE_US = 15  # a smaller change is not applied


@dataclass(frozen=True)
class Share:
    """What is known of one node. share_us: None until a ping is answered; due_s: of the next round (monotonic clock);
    converged: its times are stable; converged_rounds: measured since then."""

    node_id: int
    ip: str
    due_s: float
    share_us: int | None = None
    last_us: int | None = None
    rounds: int = 0
    converged_rounds: int = 0
    converged: bool = False


def postpone(share: Share, now_s: float) -> Share:
    """A round trip would say nothing about the node now."""
    return replace(share, due_s=now_s + CONVERGED_PAUSE_S)


def observe(share: Share, rtts_us: Sequence[float], known_us: int, now_s: float) -> Share:
    """After one round of pings. known_us: the part of a round trip that is not the node's: the server's own share, and
    the delay that the link of its walt-net port adds."""
    rounds = share.rounds + 1
    if not rtts_us:
        pause_s = CONVERGED_PAUSE_S if rounds >= MAX_ROUNDS else BUSY_PAUSE_S
        return replace(share, rounds=rounds, due_s=now_s + pause_s)
    seen_us = max(0, round(typical(rtts_us)) - known_us)
    least_us = max(0, round(min(rtts_us)) - known_us)  # the best estimate while the node is busy
    steady = is_steady(rtts_us)
    if share.converged and share.share_us is not None:
        best_us = _drift(share.share_us, seen_us) if steady else share.share_us
        share = replace(share, share_us=best_us, last_us=seen_us, converged_rounds=share.converged_rounds + 1)
        return replace(share, due_s=now_s + min(CONVERGED_PAUSE_S, FIRST_CONVERGED_PAUSE_S * 2**share.converged_rounds))
    last_us = share.last_us
    agrees = steady and last_us is not None and abs(seen_us - last_us) <= max(CONVERGED_US, CONVERGED_RATIO * last_us)
    converged = agrees or rounds >= MAX_ROUNDS
    if agrees and last_us is not None:
        best_us = round((seen_us + last_us) / 2)
    else:
        best_us = _lowest(share.share_us, seen_us if steady else least_us)
    pause_s = FIRST_CONVERGED_PAUSE_S if converged else BUSY_PAUSE_S
    return replace(share, share_us=best_us, last_us=seen_us, rounds=rounds, converged=converged, due_s=now_s + pause_s)


def shaped_us(applied: LinkModel) -> int | None:
    """What a link adds to the round trip of a ping; None where that changes."""
    ways = (applied.up, applied.down)
    if any(way.jitter_us or way.reorder_ppm or way.trace for way in ways):
        return None
    return sum(way.latency_us + (PING_BITS * 1_000_000 // way.rate_bps if way.rate_bps else 0) for way in ways)


def typical(rtts_us: Sequence[float]) -> float:
    """The mean without the slowest."""
    kept = sorted(rtts_us)[: max(1, round(len(rtts_us) * KEPT))]
    return sum(kept) / len(kept)


def is_steady(rtts_us: Sequence[float]) -> bool:
    """Whether they are close together, a fifth left out at each end."""
    ordered, cut = sorted(rtts_us), len(rtts_us) // 5
    low, high = ordered[cut], ordered[-1 - cut]
    return high - low <= STEADY_RATIO * low


def server_share_us(own_rtts_us: Sequence[float]) -> int:
    """What the server itself adds to a ping. A ping to itself passes its network stack twice."""
    return round(typical(own_rtts_us) / 2) if own_rtts_us else 0


def is_significant(applied_us: int, share_us: int | None) -> bool:
    return share_us is not None and abs(share_us - applied_us) >= MIN_CHANGE_US


def _lowest(known_us: int | None, least_us: int) -> int:
    return least_us if known_us is None else min(known_us, least_us)


def _drift(share_us: int, seen_us: int) -> int:
    """Follow slow changes of a converged node.

    If the RTT more than doubles, the guest is busy; do not attribute that to the platform.
    """
    if seen_us > 2 * share_us:
        return share_us
    return round(share_us + WEIGHT * (seen_us - share_us))
