"""Pure: a node's own share of a round trip, from the round-trip times of pings by the server.

Two nodes on a plain bridge already take their time: in and out through the taps, a vCPU that must wake up. What
the server sees when it pings a node is that node's share (in and out); taken off its outgoing delay, the sum over both
ends of a link comes out as asked. Right after its boot a node is still busy, so it is measured until it is calm, and
more often at first than later.

A virtual CPU that has slept long wakes up late (here 0.9 ms after 200 ms of sleep, 0.7 ms after 20 ms). Of the two
ends of an exchange one sleeps long, the other only until the answer comes: so pings come in pairs, one after a long
pause, one after a short.

On a loaded host the times of one round lie far apart. They say nothing then of what an exchange meets a moment later,
and to take too much off would make a link faster than asked: the least time seen counts, until they lie close together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.contracts.links import LinkModel

PAIRS = 5
PING_BITS = 98 * 8  # as a frame
KEPT = 0.8  # of the pings of a round: the slowest met something else
STEADY_RATIO = 0.6  # of a round without its outliers: how far its times may lie apart
CALM_RATIO = 0.10
CALM_US = 60
MAX_ROUNDS = 20
BUSY_PAUSE_S = 0.5
FIRST_CALM_PAUSE_S = 5.0
CALM_PAUSE_S = 60.0
WEIGHT = 0.25
WORTH_US = 15  # a smaller change is not worth a word to the back-end


@dataclass(frozen=True)
class Share:
    """What is known of one node. share_us: None until a ping was answered; due_s: when to look again (monotonic)."""

    node_id: int
    ip: str
    due_s: float
    share_us: int | None = None
    last_us: int | None = None
    rounds: int = 0
    looks: int = 0  # since it is calm
    calm: bool = False


def later(share: Share, now_s: float) -> Share:
    """A round trip would tell nothing of the node now."""
    return replace(share, due_s=now_s + CALM_PAUSE_S)


def observe(share: Share, rtts_us: Sequence[float], known_us: int, now_s: float) -> Share:
    """After one round of pings; known_us: what of it is not the node's: the server's own part, the delay
    that the node's walt-net port adds on purpose."""
    rounds = share.rounds + 1
    if not rtts_us:
        return replace(share, rounds=rounds, due_s=now_s + (CALM_PAUSE_S if rounds >= MAX_ROUNDS else BUSY_PAUSE_S))
    seen_us = max(0, round(typical(rtts_us)) - known_us)
    least_us = max(0, round(min(rtts_us)) - known_us)  # the best guess while the node is busy
    steady = is_steady(rtts_us)
    if share.calm and share.share_us is not None:
        best_us = _drift(share.share_us, seen_us) if steady else share.share_us
        share = replace(share, share_us=best_us, last_us=seen_us, looks=share.looks + 1)
        return replace(share, due_s=now_s + min(CALM_PAUSE_S, FIRST_CALM_PAUSE_S * 2**share.looks))
    last_us = share.last_us
    agrees = steady and last_us is not None and abs(seen_us - last_us) <= max(CALM_US, CALM_RATIO * last_us)
    calm = agrees or rounds >= MAX_ROUNDS
    if agrees and last_us is not None:
        best_us = round((seen_us + last_us) / 2)
    else:
        best_us = _lowest(share.share_us, seen_us if steady else least_us)
    pause_s = FIRST_CALM_PAUSE_S if calm else BUSY_PAUSE_S
    return replace(share, share_us=best_us, last_us=seen_us, rounds=rounds, calm=calm, due_s=now_s + pause_s)


def shaped_us(applied: LinkModel) -> int | None:
    """What a link adds on purpose to the round trip of a ping; None where that is left to chance."""
    ways = (applied.up, applied.down)
    if any(way.jitter_us or way.reorder_ppm for way in ways):
        return None
    return sum(way.latency_us + (PING_BITS * 1_000_000 // way.rate_bps if way.rate_bps else 0) for way in ways)


def typical(rtts_us: Sequence[float]) -> float:
    """The mean without the slowest."""
    kept = sorted(rtts_us)[: max(1, round(len(rtts_us) * KEPT))]
    return sum(kept) / len(kept)


def is_steady(rtts_us: Sequence[float]) -> bool:
    """Whether they lie close together, a fifth left out at each end."""
    ordered, cut = sorted(rtts_us), len(rtts_us) // 5
    low, high = ordered[cut], ordered[-1 - cut]
    return high - low <= STEADY_RATIO * low


def server_share_us(own_rtts_us: Sequence[float]) -> int:
    """What the pinging server itself adds to a ping: one that it sends to itself passes its stack twice."""
    return round(typical(own_rtts_us) / 2) if own_rtts_us else 0


def is_worth_it(applied_us: int, share_us: int | None) -> bool:
    return share_us is not None and abs(share_us - applied_us) >= WORTH_US


def _lowest(known_us: int | None, least_us: int) -> int:
    return least_us if known_us is None else min(known_us, least_us)


def _drift(share_us: int, seen_us: int) -> int:
    """A calm node moves slowly; one that answers in twice its time is at work, which is not the platform's share."""
    if seen_us > 2 * share_us:
        return share_us
    return round(share_us + WEIGHT * (seen_us - share_us))
