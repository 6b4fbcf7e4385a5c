"""Pure: what a port is, what its interfaces are called, and how they are labelled.

All that netemu must remember of a port is in the alias of its tap, so that the kernel is the only database: a restarted
netemu reads the interfaces and knows to which node each belongs, and which link was requested.
"""

from __future__ import annotations

import functools
import re
import string
from base64 import b85decode, b85encode
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields, replace

from walt.contracts.errors import Failed
from walt.contracts.links import (
    LINK_OPTIONS,
    MAX_LATENCY_US,
    Direction,
    LinkModel,
    format_link,
    parse_option,
    with_change,
)
from walt.contracts.names import WALT_NET
from walt.contracts.nodes import WALT_NET_ID, Network
from walt.contracts.trace_names import MAX_ID

ALIAS_PREFIX = "walt "
KNOWN_ALIASES = 2**14  # that need not be parsed again, as every plan reads all ports
MAX_ALIAS_BYTES = 254  # the kernel's IFALIASZ, less two
WALT_NET_MTU = 1500
LARGEST_MTU = 65521  # of a tap
UNFINISHED = "walt-unfinished"  # the name of an interface while it is made
NO_OWNER = "-"  # stands for an empty owner in an alias


@dataclass(frozen=True)
class Port:
    """One interface of one node on one network. compensation_us: the latency of the platform itself, as measured."""

    node_id: int
    node: str
    owner: str
    slot: int
    network: Network
    link: LinkModel = field(default_factory=LinkModel)
    compensation_us: int = 0

    @property
    def tap(self) -> str:
        """The name of the interface that qemu opens."""
        return tap_name(self.node_id, self.slot)

    @property
    def bridge(self) -> str:
        return bridge_name(self.network.id)

    @property
    def mtu(self) -> int:
        """Nodes may use frames of any size on their own networks; walt-net is also the server's."""
        return WALT_NET_MTU if self.network.id == WALT_NET_ID else LARGEST_MTU

    @property
    def applied(self) -> LinkModel:
        """The link that the back-end gets: the requested one, less what the platform itself adds. Below 0 only where a
        trace adds to it."""
        latency_us = self.link.up.latency_us - self.compensation_us
        latency_us = latency_us if self.link.up.trace else max(0, latency_us)
        return replace(self.link, up=replace(self.link.up, latency_us=latency_us))


def tap_name(node_id: int, slot: int) -> str:
    return f"vn{node_id}e{slot}"


def bridge_name(network_id: int) -> str:
    return WALT_NET if network_id == WALT_NET_ID else f"net{network_id}"


def network_of_bridge(name: str) -> int:
    """The id of the network that this bridge of ours is."""
    return WALT_NET_ID if name == WALT_NET else int(name.removeprefix("net"))


def helpers(tap: str) -> dict[str, str]:
    """{role: name} of the interfaces of a shaped port: the cable's taps towards node and bridge, the kernel's ifb."""
    port = tap.removeprefix("vn")
    return {"node_end": f"cn{port}", "bridge_end": f"cb{port}", "ifb": f"ib{port}"}


def network_alias(network: Network) -> str:
    return f"{ALIAS_PREFIX}network {network.id} {network.name} {network.owner or NO_OWNER}"


def helper_alias(tap: str) -> str:
    return f"{ALIAS_PREFIX}helper {tap}"


def unfinished_alias(tap: str) -> str:
    """Of a helper interface that is not wired up yet."""
    return f"{helper_alias(tap)} unfinished"


def port_alias(port: Port) -> str:
    """`walt port NODE OWNER NETWORK_ID NETWORK NETWORK_OWNER COMPENSATION_US:LINK`, the link as a user writes it.

    Node and slot are in the name of the tap. Where that would not fit the kernel's limit, it begins with `walt pNODE`,
    and the link is packed. A port that an older version labelled has the packed form always, and keeps it until it
    changes. A link that follows a trace, which is more than there is room for then, is packed with all words: `walt d`.
    """
    words = f"{port.node} {port.owner or NO_OWNER} "
    network_words = f"{port.network.name} {port.network.owner or NO_OWNER}"
    text = f"{port.compensation_us}:{format_link(port.link)}"
    alias = f"{ALIAS_PREFIX}port {words}{_base36(port.network.id)} {network_words} {text}"
    if len(alias) <= MAX_ALIAS_BYTES and _parse_link(text) == (port.compensation_us, port.link):
        return alias
    up, down = astuple(port.link.up), astuple(port.link.down)
    values = [port.compensation_us, *up[_FIRST], *down[_FIRST], *up[_LATER], *down[_LATER]]
    if not port.link.up.trace and not port.link.down.trace:
        return f"{ALIAS_PREFIX}p{words}{_base36(port.network.id)} {network_words} {_pack(values)}"
    values += [port.link.up.trace, port.link.down.trace, port.network.id, _number_of(words + network_words)]
    return f"{ALIAS_PREFIX}d{_pack(values)}"


_TAP = re.compile(r"vn(\d+)e(\d+)", re.ASCII)
_PORT = re.compile(r"walt (?:port |p)(\S+) (\S+) ([0-9a-z]+) (\S+) (\S+) (\S+)", re.ASCII)
_DENSE = re.compile(r"walt d(\S+)", re.ASCII)


@functools.lru_cache(maxsize=KNOWN_ALIASES)
def parse_port_alias(name: str, alias: str) -> Port | None:
    """The port whose tap is this interface, or None when it is not the tap of a port."""
    tap, match, dense = _TAP.fullmatch(name), _PORT.fullmatch(alias), _DENSE.fullmatch(alias)
    values = _parse_link(match[6]) if match else None
    if tap is None:
        return None
    if dense:
        return _parse_dense(tap, dense[1])
    if match is None or values is None:
        return None
    node, owner, network_id, network, network_owner, _ = match.groups()
    return _port(tap, (node, owner, network, network_owner), int(network_id, 36), *values)


def _parse_dense(tap: re.Match[str], text: str) -> Port | None:
    values = _unpack(text, _DENSE_RADICES)
    words = _text_of(values[-1]).split(" ") if values else []
    if len(words) != 4:
        return None
    *numbers, up, down, network_id, _ = values
    compensation_us, link = _link_of(numbers)
    link = replace(link, up=replace(link.up, trace=up), down=replace(link.down, trace=down))
    return _port(tap, words, network_id, compensation_us, link)


def _port(tap: re.Match[str], words: Sequence[str], network_id: int, compensation_us: int, link: LinkModel) -> Port:
    node, owner, network, network_owner = words
    return Port(
        node_id=int(tap[1]),
        node=node,
        owner=_owner_of(owner),
        slot=int(tap[2]),
        network=Network(network_id, network, _owner_of(network_owner)),
        link=link,
        compensation_us=compensation_us,
    )


def _owner_of(text: str) -> str:
    return "" if text == NO_OWNER else text


def _parse_link(text: str) -> tuple[int, LinkModel] | None:
    """Compensation and link, from either form; None for anything else. No packed form contains a colon."""
    compensation, colon, options = text.partition(":")
    if not colon:
        values = _unpack(text, [*_RADICES, 1])
        return _link_of(values[:-1]) if values else None
    link = LinkModel()
    try:
        for option in filter(None, options.split(",")):
            link = with_change(link, parse_option(*option.split("=", 1)))
        return int(compensation), link
    except (ValueError, TypeError):  # an option without a value, or unknown
        return None


_MAXIMA = {option.field: option.maximum for option in LINK_OPTIONS.values()}
_RADIX = [_MAXIMA[one.name] + 1 for one in fields(Direction)]
_FIRST = slice(0, 9)  # of Direction, up to seed; later ones are appended, so that an older packed alias still reads
_LATER = slice(9, 11)  # without the trace
_FIRSTS, _LATERS = _RADIX[_FIRST], _RADIX[_LATER]
_RADICES = [MAX_LATENCY_US + 1, *_FIRSTS, *_FIRSTS, *_LATERS, *_LATERS]  # compensation, up, down, up, down
_DENSE_RADICES = [*_RADICES, MAX_ID + 1, MAX_ID + 1, MAX_ID + 1, 0]  # traces, network, words


def _pack(values: Sequence[int]) -> str:
    """The values as one number in mixed radix, the first the least significant; that number in base 85."""
    number = 0
    for value, radix in zip(reversed(values), reversed(_DENSE_RADICES[: len(values)]), strict=True):
        number = number * radix + value
    return b85encode(number.to_bytes(number.bit_length() // 8 + 1)).decode()


def _unpack(text: str, radices: Sequence[int]) -> list[int]:
    """As many values; the last is what the others leave, and must be below its radix, if that is not 0. [] for a text
    that is none."""
    try:
        number = int.from_bytes(b85decode(text))
    except ValueError:
        return []
    values = []
    for radix in radices[:-1]:
        number, value = divmod(number, radix)
        values.append(value)
    return [] if radices[-1] and number >= radices[-1] else [*values, number]


def _link_of(values: Sequence[int]) -> tuple[int, LinkModel]:
    """Without traces."""
    compensation_us, *both = values
    first, later = both[: 2 * len(_FIRSTS)], both[2 * len(_FIRSTS) :]
    up = first[: len(_FIRSTS)] + later[: len(_LATERS)]
    down = first[len(_FIRSTS) :] + later[len(_LATERS) :]
    return compensation_us, LinkModel(Direction(*up), Direction(*down))


_LETTERS = f"{string.ascii_letters}{string.digits}-_/ "  # of names and between them


def _number_of(text: str) -> int:
    if not set(text) <= set(_LETTERS):
        raise Failed(
            f"a link of '{text}' cannot follow a trace: these names have other letters than {_LETTERS.strip()}"
        )
    number = 0
    for letter in text:
        number = number * (len(_LETTERS) + 1) + _LETTERS.index(letter) + 1
    return number


def _text_of(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, len(_LETTERS) + 1)
        text = _LETTERS[digit - 1] + text
    return text


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (_base36(number // 36) if number >= 36 else "") + digits[number % 36]
