"""Schedules: changes of links at moments that are counted from one start, T0, for all links of a command. Pure.

    at=10s lat=80ms loss=1% at=20s every=5s until=60s lat=20ms at=22s every=5s until=60s lat=80ms

Each `at=` begins a change, which happens at that moment; with `every=` and `until=` again and again, the last time at
`until` or before. Other words are options of the link that are so from then on; all others stay. What the cable carries
out in its own time can change: delay, rate and loss. A schedule becomes a trace for each direction, which begins at T0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from walt.contracts import links, units
from walt.contracts.links import MAX_RATE_BPS, SIDES, LinkChange, LinkModel
from walt.contracts.traces import MAX_KEEP_US, Trace, TraceView
from walt.contracts.units import Faults

AT, EVERY, UNTIL = MOMENT_WORDS = ("at", "every", "until")
OPTIONS = ("lat", "bw", "loss")  # and those of Trace: latency_us, rate_bps, loss_ppm
RULE = f"at=TIME [every=TIME until=TIME] {'|'.join(OPTIONS)}[.up|.down]=VALUE …, as at=10s lat=80ms at=20s lat=10ms"
MAX_CHANGES = 10_000  # of one link, with all times that they happen
MAX_PORTS = 2_000  # of one command
HOLDS_US = 1_000_000  # the last row of a trace, which holds for good, needs some length


@dataclass(frozen=True)
class ScheduledChange:
    """words: as they were given, for messages."""

    words: tuple[str, ...]
    at_us: int
    every_us: int
    until_us: int
    change: LinkChange

    @property
    def moments_us(self) -> range:
        return range(self.at_us, (self.until_us if self.every_us else self.at_us) + 1, self.every_us or 1)


@dataclass(frozen=True)
class PortSchedule:
    """Of the link of these nodes (a set) to this network. words: ["at=10s", "lat=80ms", …]."""

    nodes: str
    network: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class ScheduleStarted:
    """start_us: T0, in microseconds of the epoch; links: 'vnode1 (home-net)', …; traces: those that they follow."""

    start_us: int
    links: tuple[str, ...]
    traces: tuple[TraceView, ...] = ()


def parse(words: Sequence[str]) -> list[ScheduledChange]:
    """Faults of all words."""
    groups: list[list[str]] = []
    for word in words:
        if word.startswith(f"{AT}="):
            groups.append([])
        if not groups:
            raise Faults(f"'{word}' is before the first at=; allowed: {RULE}")
        groups[-1].append(word)
    if not groups:
        raise Faults(f"no change is given; allowed: {RULE}")
    faults = list[str]()
    changes = list[ScheduledChange]()
    for group in groups:
        try:
            changes.append(_change(group))
        except Faults as found:
            faults += found.args
    count = sum(len(one.moments_us) for one in changes)
    if not faults and count > MAX_CHANGES:
        faults.append(f"{count} changes of one link are too many; allowed: at most {MAX_CHANGES}")
    if faults:
        raise Faults(*faults)
    return changes


def compiled(base: LinkModel, changes: Sequence[ScheduledChange]) -> dict[str, Trace]:
    """{side: its trace} of the directions that change. Delays are what is added to those of the link: below 0 where it
    becomes shorter. Faults where values contradict each other at some moment."""
    moments = sorted((at_us, order) for order, one in enumerate(changes) for at_us in one.moments_us)
    steps, link = {0: base}, base
    for at_us, order in moments:
        link = links.with_change(link, changes[order].change)
        try:
            steps[at_us] = links.check_consistent(link)
        except Faults as found:
            when = f"at {units.format_latency(at_us)}"
            raise Faults(*(f"{when}: {fault}" for fault in found.args)) from None
    given = {(side, name) for one in changes for side, name, _ in one.change.values}
    sides = [side for side in SIDES if any(one == side for one, _ in given)]
    return {side: _trace(side, {name for one, name in given if one == side}, steps) for side in sides}


def _trace(side: str, names: set[str], steps: dict[int, LinkModel]) -> Trace:
    times, ways = list(steps), [getattr(link, side) for link in steps.values()]
    keep_us = (*(later - now for now, later in zip(times, times[1:], strict=False)), HOLDS_US)
    trace = Trace(keep_us)
    if "latency_us" in names:
        trace = replace(trace, latency_us=tuple(way.latency_us - ways[0].latency_us for way in ways))
    if "rate_bps" in names:
        trace = replace(trace, rate_bps=tuple(way.rate_bps or MAX_RATE_BPS for way in ways))
    if "loss_ppm" in names:
        trace = replace(trace, loss_ppm=tuple(way.loss_ppm for way in ways))
    return trace


def _change(words: Sequence[str]) -> ScheduledChange:
    moment = [word for word in words if word.partition("=")[0] in MOMENT_WORDS]
    options = [word for word in words if word not in moment]
    faults = [
        f"'{word}' cannot be scheduled; allowed: {', '.join(OPTIONS)}, also with .up or .down"
        for word in options
        if word.partition("=")[0].partition(".")[0] not in OPTIONS
    ]
    faults += [f"{name}= is given twice for {words[0]}; allowed: once" for name in _doubled(moment)]
    if not options:
        faults.append(f"nothing changes {words[0]}; allowed: {RULE}")
    times = dict(zip((word.partition("=")[0] for word in moment), _times(moment, faults), strict=False))
    if not faults and (EVERY in times) != (UNTIL in times):
        faults.append(f"{' '.join(moment)}: every and until go together; allowed: every=5s until=60s, or neither")
    if not faults and EVERY in times and not (times[EVERY] and times[AT] <= times[UNTIL]):
        faults.append(f"{' '.join(moment)} is never; allowed: an every above 0, and an until that is not before at")
    change = LinkChange()
    try:
        change = links.parse_change(options) if not faults else change
    except Faults as found:
        faults += found.args
    if faults:
        raise Faults(*faults)
    return ScheduledChange(tuple(words), times[AT], times.get(EVERY, 0), times.get(UNTIL, 0), change)


def _times(words: Sequence[str], faults: list[str]) -> Iterator[int]:
    for word in words:
        text = word.partition("=")[2]
        try:
            value = 0 if text == "0" else units.parse_latency_us(text)
        except ValueError:
            value = MAX_KEEP_US
        if value >= MAX_KEEP_US:
            faults.append(f"'{word}' is not a time; allowed: {units.LATENCY_RULE}, less than a day")
        yield value


def _doubled(words: Sequence[str]) -> list[str]:
    return units.doubled(word.partition("=")[0] for word in words)
