"""The model of one port of one node: what its link does to the frames, in each direction, and its carrier. Pure.

`up` is what the node sends, `down` what it receives. Without a suffix, `bw`, `limit` and `seed` hold for both
directions, all other options for what the node sends only (the blog post's rule: two nodes with lat=10ms see a round
trip of 20 ms). A value of 0 means that the option is not set.

What both back-ends do, as tc-netem(8):
  lat      every frame is delayed by so much
  jitter   the delay varies around lat, distributed as `dist` says; the frames keep their order
  dist     uniform: evenly from lat - jitter to lat + jitter; normal, pareto, paretonormal (a quarter normal, three
           quarters Pareto of shape 3): jitter is the standard deviation, and the mean is lat
  bw       a frame occupies the link for its length on the wire at this rate; no burst
  loss, dup, corrupt   a share of the frames, drawn independently, is lost; arrives twice; has one bit inverted
  burst    frames are lost in runs of so many on average (the simple Gilbert model), `loss` of all of them as before
  reorder  a share of the frames skips the delay, and so overtakes others
  limit    at most so many frames wait or are in flight; more are dropped. 0: as many as rate and delay need, but no
           more than MAX_DELAYED_BYTES or MAX_DELAYED_FRAMES: a long delay must not take the memory of the host
  seed     the same seed draws the same impairments for the same sequence of frames. 0: drawn anew each time
  trace    rate, delay and loss as functions of time (walt/contracts/traces.py), from the moment it is set on

`carrier` is of the port, not of a direction: with carrier=down the node's interface has no link, as with the cable
pulled out at this end, and no frame passes either way. The other ends of the network keep theirs. The machine of the
node does that, not the back-ends of the link.

A frame is one on the wire. A large frame of segmentation offload takes the time of all frames that it stands for. Where
there is a limit or a random impairment, the cable has it segmented first; netem counts it as one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from walt.contracts import trace_names, units

MAX_LATENCY_US = 60_000_000
MAX_RATE_BPS = 100_000_000_000
MIN_RATE_BPS = 1_000
MAX_SHARE_PPM = 1_000_000
MAX_LIMIT_FRAMES = 1_000_000
MAX_BURST_FRAMES = 1000
MAX_SEED = 2**31 - 1
MAX_DELAYED_BYTES = 256 * 2**20  # of one direction
MAX_DELAYED_FRAMES = 2**19  # also where they are small; the 1 Gbit/s of a 100 ms link fit


class Distribution(IntEnum):
    """Of the delay around its mean."""

    UNIFORM = 0
    NORMAL = 1
    PARETO = 2
    PARETONORMAL = 3


DISTRIBUTION_NAMES = tuple(one.name.lower() for one in Distribution)  # in the order of their numbers

# How many times `jitter` the shortest delay lies below the mean: so much the latency has to leave room for.
JITTER_REACH = {
    Distribution.UNIFORM: 1.0,
    Distribution.NORMAL: 3.0,
    Distribution.PARETO: 0.75,
    Distribution.PARETONORMAL: 1.67,
}


@dataclass(frozen=True)
class Direction:
    latency_us: int = 0
    rate_bps: int = 0
    jitter_us: int = 0
    loss_ppm: int = 0
    duplicate_ppm: int = 0
    corrupt_ppm: int = 0
    reorder_ppm: int = 0
    limit_frames: int = 0
    seed: int = 0
    burst_frames: int = 0
    distribution: int = Distribution.UNIFORM
    trace: int = 0  # see trace_names.py


@dataclass(frozen=True)
class LinkModel:
    """no_carrier: False when the option is not set, as all fields."""

    up: Direction = field(default_factory=Direction)
    down: Direction = field(default_factory=Direction)
    no_carrier: bool = False

    @property
    def of_frames(self) -> LinkModel:
        """What its back-end realises: all but the carrier."""
        return replace(self, no_carrier=False)

    @property
    def shapes(self) -> bool:
        """Whether any option is set that a back-end realises."""
        return self.of_frames != LinkModel()


@dataclass(frozen=True)
class LinkOption:
    """One option of the link grammar: `lat=10ms`. field: of Direction; sides: the directions it sets when none is
    named, () for one of the port, whose field is of LinkModel; grammar: what a value looks like, for messages and
    help."""

    name: str
    field: str
    sides: tuple[str, ...]
    grammar: str
    parse: Callable[[str], int]
    format: Callable[[int], str]
    minimum: int
    maximum: int
    help: str

    def value(self, text: str) -> int:
        """The parsed value; ValueError(what is allowed)."""
        value = self.parse(text)
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{self.format(self.minimum)} to {self.format(self.maximum)}")
        return value


SIDES = ("up", "down")
_UP = ("up",)
_TIME = (units.LATENCY_RULE, units.parse_latency_us, units.format_latency, 0, MAX_LATENCY_US)
_RATE = (units.RATE_RULE, units.parse_rate_bps, units.format_rate, MIN_RATE_BPS, MAX_RATE_BPS)
_SHARE = (units.SHARE_RULE, units.parse_share_ppm, units.format_share, 0, MAX_SHARE_PPM)
_NAME = (trace_names.RULE, trace_names.parse, trace_names.format_number, 0, trace_names.MAX_NUMBER)
_COUNT = (units.COUNT_RULE, units.parse_whole, str, 0)
_JITTER = "how far the delay varies either way, see dist; at most lat; the order is kept"
_DISTRIBUTION = "how jitter is distributed; all but uniform: jitter is the standard deviation"
_DISTRIBUTION_RULE = ", ".join(DISTRIBUTION_NAMES)
_BURST = "mean length of the runs in which frames are lost; 0: each frame by itself; needs loss"
_REORDER = "share of the frames that skips the delay and overtakes others; needs lat"
_CARRIER = "down: the interface of the node has no link, and no frame passes either way; not for walt-net"
_TRACE = "rate, delay and loss over time, of a trace of yours; see 'walt network trace'"
_LIMIT = "frames that may wait or be under way; 0: what rate and delay need, up to 256 MiB"


def _parse_distribution(text: str) -> int:
    if text not in DISTRIBUTION_NAMES:
        raise ValueError(_DISTRIBUTION_RULE)
    return DISTRIBUTION_NAMES.index(text)


def _format_distribution(value: int) -> str:
    return DISTRIBUTION_NAMES[value]


CARRIERS = ("up", "down")  # in the order of the values of no_carrier


def _parse_carrier(text: str) -> bool:
    if text not in CARRIERS:
        raise ValueError(", ".join(CARRIERS))
    return text == "down"


def _format_carrier(value: int) -> str:
    return CARRIERS[value]


_SHAPE = (
    _DISTRIBUTION_RULE,
    _parse_distribution,
    _format_distribution,
    Distribution.UNIFORM,
    Distribution.PARETONORMAL,
)

_OPTIONS = (
    LinkOption("lat", "latency_us", _UP, *_TIME, "delay of every frame"),
    LinkOption("jitter", "jitter_us", _UP, *_TIME, _JITTER),
    LinkOption("dist", "distribution", _UP, *_SHAPE, _DISTRIBUTION),
    LinkOption("bw", "rate_bps", SIDES, *_RATE, "rate at which frames pass"),
    LinkOption("loss", "loss_ppm", _UP, *_SHARE, "share of the frames that is lost"),
    LinkOption("burst", "burst_frames", _UP, *_COUNT, MAX_BURST_FRAMES, _BURST),
    LinkOption("dup", "duplicate_ppm", _UP, *_SHARE, "share of the frames that arrives twice"),
    LinkOption("corrupt", "corrupt_ppm", _UP, *_SHARE, "share of the frames that arrives with one bit inverted"),
    LinkOption("reorder", "reorder_ppm", _UP, *_SHARE, _REORDER),
    LinkOption("limit", "limit_frames", SIDES, *_COUNT, MAX_LIMIT_FRAMES, _LIMIT),
    LinkOption("seed", "seed", SIDES, *_COUNT, MAX_SEED, "the same seed draws the same fates again; 0: drawn anew"),
    LinkOption("trace", "trace", _UP, *_NAME, _TRACE),
    LinkOption("carrier", "no_carrier", (), ", ".join(CARRIERS), _parse_carrier, _format_carrier, 0, 1, _CARRIER),
)
LINK_OPTIONS = {option.name: option for option in _OPTIONS}
DIRECTION_OPTIONS = {name: option for name, option in LINK_OPTIONS.items() if option.sides}
LINK_RULE = ", ".join(f"{name}{'[.up|.down]' if name in DIRECTION_OPTIONS else ''}=" for name in LINK_OPTIONS)


@dataclass(frozen=True)
class LinkChange:
    """Parsed link options, which can be applied to any link. values: (side, field of Direction, value), or ("", field
    of LinkModel, value)."""

    values: tuple[tuple[str, str, int], ...] = ()


def parse_option(key: str, text: str) -> LinkChange:
    """`parse_option('lat.up', '10ms')`; ValueError(what is allowed) for an unknown option or a bad value."""
    name, _, side = key.partition(".")
    option = LINK_OPTIONS.get(name)
    if option is None or (side and side not in SIDES) or key.endswith("."):
        raise ValueError(LINK_RULE)
    if side and not option.sides:
        raise ValueError(f"{name}=, without .up or .down")
    value = option.value(text)
    return LinkChange(tuple((one, option.field, value) for one in ((side,) if side else option.sides or ("",))))


def parse_change(options: Iterable[str]) -> LinkChange:
    """['lat=10ms', 'loss=1%'], each option once; Faults of all of them."""
    given, faults = list(options), list[str]()
    changes = units.parse_each(_parse_option, given, faults)
    twice = units.doubled(option.partition("=")[0] for option in given)
    faults += [f"{key} is given twice; allowed: each option once" for key in twice]
    if faults:
        raise units.Faults(*faults)
    return LinkChange(tuple(value for change in changes for value in change.values))


def with_change(link: LinkModel, change: LinkChange) -> LinkModel:
    """The changed link, whose values are not checked against each other."""
    for side, name, value in change.values:
        part: Any = getattr(link, side) if side else link
        part = replace(part, **{name: value})
        link = replace(link, **{side: part}) if side else part
    return link


def parse_options(link: LinkModel, options: Iterable[str]) -> LinkModel:
    """The link with these options; Faults of all options, or of their combination."""
    return check_consistent(with_change(link, parse_change(options)))


def _parse_option(option: str) -> LinkChange:
    key, equals, text = option.partition("=")
    try:
        if not equals:
            raise ValueError(LINK_RULE)
        return parse_option(key, text)
    except ValueError as allowed:
        name = key.partition(".")[0]
        hint = "" if name in LINK_OPTIONS else units.nearest(name, LINK_OPTIONS)
        raise units.Faults(f"'{option}' is not an option of a link{hint}; allowed: {allowed}") from None


def check_consistent(link: LinkModel) -> LinkModel:
    """The link itself, or Faults when its values contradict each other."""
    faults = [f"{side}: {fault}" for side in SIDES for fault in _contradictions(getattr(link, side))]
    if faults:
        raise units.Faults(*faults)
    return link


def _contradictions(way: Direction) -> Iterator[str]:
    reach = JITTER_REACH[Distribution(way.distribution)]
    if way.jitter_us * reach > way.latency_us:
        jitter, latency = units.format_latency(way.jitter_us), units.format_latency(way.latency_us)
        if way.distribution == Distribution.UNIFORM:
            yield f"jitter={jitter} exceeds lat={latency}; allowed: a jitter of at most lat"
        else:
            shape = f"dist={_format_distribution(way.distribution)}"
            yield f"jitter={jitter} exceeds lat={latency} with {shape}; allowed: a lat of at least {reach:g} x jitter"
    if way.distribution != Distribution.UNIFORM and not way.jitter_us:
        yield f"dist={_format_distribution(way.distribution)} has no jitter; allowed: with a jitter"
    if way.reorder_ppm and not way.latency_us:
        share = units.format_share(way.reorder_ppm)
        yield f"reorder={share} has no lat; allowed: with a lat (frames overtake only those that are delayed)"
    if way.burst_frames and not way.loss_ppm:
        yield f"burst={way.burst_frames} has no loss; allowed: with a loss"
    elif way.burst_frames and way.loss_ppm > (MAX_SHARE_PPM - way.loss_ppm) * way.burst_frames:
        loss = units.format_share(way.loss_ppm)
        most = units.format_share(MAX_SHARE_PPM * way.burst_frames // (way.burst_frames + 1))
        yield f"burst={way.burst_frames} is too short for loss={loss}; allowed: a loss up to {most}"


def format_link(link: LinkModel) -> str:
    """The shortest text that parses back to this link: 'lat=10ms,bw=100Mbps', '' for a plain one."""
    return ",".join(text for option in LINK_OPTIONS.values() for text in _format_option(option, link))


def _format_option(option: LinkOption, link: LinkModel) -> list[str]:
    if not option.sides:
        value = getattr(link, option.field)
        return [f"{option.name}={option.format(value)}"] if value else []
    values = {side: getattr(getattr(link, side), option.field) for side in SIDES}
    without_suffix = {side: values[option.sides[0]] if side in option.sides else 0 for side in SIDES}
    if values == without_suffix:
        return [f"{option.name}={option.format(values[option.sides[0]])}"] if values[option.sides[0]] else []
    return [f"{option.name}.{side}={option.format(values[side])}" for side in SIDES if values[side]]
