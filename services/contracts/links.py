"""The model of one port of one node: what its link does to the frames, in each direction.

`up` is what the node sends, `down` what it receives. `lat` alone delays what the node sends (the blog post's
rule: two nodes with lat=10ms see a round trip of 20 ms); `bw` alone limits both directions.
A value of 0 means "nothing asked".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from services.contracts import units

MAX_LATENCY_US = 60_000_000
MAX_RATE_BPS = 100_000_000_000
MIN_RATE_BPS = 1_000


@dataclass(frozen=True)
class Direction:
    latency_us: int = 0
    rate_bps: int = 0


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


def format_link(link: LinkModel) -> str:
    """The shortest text that parses back to this link: 'lat=10ms,bw=100Mbps', '' for a plain one."""
    return ",".join(word for option in LINK_OPTIONS.values() for word in _words(option, link))


def _words(option: LinkOption, link: LinkModel) -> list[str]:
    values = {side: getattr(getattr(link, side), option.field) for side in SIDES}
    meant = {side: values[option.sides[0]] if side in option.sides else 0 for side in SIDES}
    if values == meant:
        return [f"{option.name}={option.format(values[option.sides[0]])}"] if values[option.sides[0]] else []
    return [f"{option.name}.{side}={option.format(values[side])}" for side in SIDES if values[side]]
