"""The model of one port of one node: what its link does to the frames, in each direction. Pure.

`up` is what the node sends, `down` what it receives. `lat` alone delays what the node sends (the blog post's
rule: two nodes with lat=10ms see a round trip of 20 ms), and so do the other impairments; `bw`, `limit` and `seed`
alone hold for both directions. A value of 0 means "nothing asked".

What both back-ends do, after tc-netem(8):
  lat      every frame is delayed by so much
  jitter   the delay varies evenly (uniformly) from lat - jitter to lat + jitter; the frames keep their order
  bw       a frame occupies the link for its length on the wire at this rate; no burst
  loss, dup, corrupt   a share of the frames, drawn independently, is lost; arrives twice; arrives with one bit inverted
  reorder  a share of the frames skips the delay, and so overtakes others
  limit    at most so many frames wait or are under way; more are dropped. 0: as many as rate and delay need, but no more
           than MAX_DELAYED_BYTES or MAX_DELAYED_FRAMES: a long delay must not take the memory of the host
  seed     the same seed draws the same fates for the same sequence of frames. 0: drawn anew each time

A frame is one on the wire. What segmentation offload left whole takes the time of all that it stands for; the cable has it
cut where there is a limit or anything is left to chance, netem takes it for one frame there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.contracts import units

MAX_LATENCY_US = 60_000_000
MAX_RATE_BPS = 100_000_000_000
MIN_RATE_BPS = 1_000
MAX_SHARE_PPM = 1_000_000
MAX_LIMIT_FRAMES = 1_000_000
MAX_SEED = 2**31 - 1
MAX_DELAYED_BYTES = 256 * 2**20  # of one direction
MAX_DELAYED_FRAMES = 2**19  # also where they are small; the 1 Gbit/s of a 100 ms link fit


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


@dataclass(frozen=True)
class LinkModel:
    up: Direction = field(default_factory=Direction)
    down: Direction = field(default_factory=Direction)

    @property
    def shapes(self) -> bool:
        """Whether anything at all is asked of this link."""
        return self != LinkModel()


@dataclass(frozen=True)
class LinkOption:
    """One word of the link grammar: `lat=10ms`; `sides` are the directions it means when none is given."""

    name: str
    field: str
    sides: tuple[str, ...]
    grammar: str
    help: str
    parse: Callable[[str], int]
    format: Callable[[int], str]
    maximum: int
    minimum: int = 0

    def value(self, text: str) -> int:
        """The parsed value; ValueError(what is allowed)."""
        value = self.parse(text)
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{self.format(self.minimum)} to {self.format(self.maximum)}")
        return value


LINK_OPTIONS = {
    option.name: option
    for option in (
        LinkOption(
            name="lat",
            field="latency_us",
            sides=("up",),
            grammar=units.LATENCY_RULE,
            help="delay of every frame",
            parse=units.parse_latency_us,
            format=units.format_latency,
            maximum=MAX_LATENCY_US,
        ),
        LinkOption(
            name="jitter",
            field="jitter_us",
            sides=("up",),
            grammar=units.LATENCY_RULE,
            help="how far the delay varies, evenly, either way; at most lat; the order is kept",
            parse=units.parse_latency_us,
            format=units.format_latency,
            maximum=MAX_LATENCY_US,
        ),
        LinkOption(
            name="bw",
            field="rate_bps",
            sides=("up", "down"),
            grammar=units.RATE_RULE,
            help="rate at which frames pass",
            parse=units.parse_rate_bps,
            format=units.format_rate,
            maximum=MAX_RATE_BPS,
            minimum=MIN_RATE_BPS,
        ),
        *(
            LinkOption(
                name=name,
                field=field_name,
                sides=("up",),
                grammar=units.SHARE_RULE,
                help=meaning,
                parse=units.parse_share_ppm,
                format=units.format_share,
                maximum=MAX_SHARE_PPM,
            )
            for name, field_name, meaning in (
                ("loss", "loss_ppm", "share of the frames that is lost"),
                ("dup", "duplicate_ppm", "share of the frames that arrives twice"),
                ("corrupt", "corrupt_ppm", "share of the frames that arrives with one bit inverted"),
                ("reorder", "reorder_ppm", "share of the frames that skips the delay and overtakes others; needs lat"),
            )
        ),
        *(
            LinkOption(
                name=name,
                field=field_name,
                sides=("up", "down"),
                grammar=units.COUNT_RULE,
                help=meaning,
                parse=units.parse_whole,
                format=str,
                maximum=maximum,
            )
            for name, field_name, meaning, maximum in (
                (
                    "limit",
                    "limit_frames",
                    "frames that may wait or be under way; 0: what rate and delay need, up to 256 MiB",
                    MAX_LIMIT_FRAMES,
                ),
                ("seed", "seed", "the same seed draws the same fates again; 0: drawn anew", MAX_SEED),
            )
        ),
    )
}
SIDES = ("up", "down")
LINK_RULE = ", ".join(f"{name}[.up|.down]=" for name in LINK_OPTIONS)


def with_option(link: LinkModel, word: str, text: str) -> LinkModel:
    """`with_option(link, 'lat', '10ms')`; ValueError(what is allowed) for an unknown word or a bad value."""
    name, _, side = word.partition(".")
    option = LINK_OPTIONS.get(name)
    if option is None or (side and side not in SIDES) or word.endswith("."):
        raise ValueError(LINK_RULE)
    value = option.value(text)
    for one in (side,) if side else option.sides:
        link = replace(link, **{one: replace(getattr(link, one), **{option.field: value})})
    return link


def option_faults(options: Sequence[str]) -> list[str]:
    """Of the options themselves, whatever the link is: a sentence for each."""
    faults = list[str]()
    units.parse_each(_check_option, options, faults)
    twice = units.doubled(option.partition("=")[0] for option in options)
    return faults + [f"{word} is given twice; allowed: each option once" for word in twice]


def parse_options(link: LinkModel, options: Iterable[str]) -> LinkModel:
    """['lat=10ms', 'loss=1%'] applied to a link: each option once, values that go together; Faults of all."""
    given = list(options)
    faults = option_faults(given)
    if faults:
        raise units.Faults(*faults)
    for option in given:
        word, _, text = option.partition("=")
        link = with_option(link, word, text)
    return _together(link)


def _check_option(option: str) -> None:
    word, equals, text = option.partition("=")
    try:
        if not equals:
            raise ValueError(LINK_RULE)
        with_option(LinkModel(), word, text)
    except ValueError as allowed:
        raise units.Faults(f"'{option}' is not an option of a link; allowed: {allowed}") from None


def _together(link: LinkModel) -> LinkModel:
    """The link itself when its values go together."""
    faults = []
    for side in SIDES:
        one: Direction = getattr(link, side)
        if one.jitter_us > one.latency_us:
            jitter, latency = units.format_latency(one.jitter_us), units.format_latency(one.latency_us)
            faults.append(f"{side}: jitter={jitter} exceeds lat={latency}; allowed: a jitter of at most lat")
        if one.reorder_ppm and not one.latency_us:
            share = units.format_share(one.reorder_ppm)
            faults.append(
                f"{side}: reorder={share} has no lat; allowed: with a lat (frames overtake only those that are delayed)"
            )
    if faults:
        raise units.Faults(*faults)
    return link


def format_link(link: LinkModel) -> str:
    """The shortest text that parses back to this link: 'lat=10ms,bw=100Mbps', '' for a plain one."""
    return ",".join(word for option in LINK_OPTIONS.values() for word in _words(option, link))


def _words(option: LinkOption, link: LinkModel) -> list[str]:
    values = {side: getattr(getattr(link, side), option.field) for side in SIDES}
    meant = {side: values[option.sides[0]] if side in option.sides else 0 for side in SIDES}
    if values == meant:
        return [f"{option.name}={option.format(values[option.sides[0]])}"] if values[option.sides[0]] else []
    return [f"{option.name}.{side}={option.format(values[side])}" for side in SIDES if values[side]]
