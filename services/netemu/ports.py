"""Pure: what a port is, what its interfaces are called, and how they are labelled.

Everything netemu must remember is in the alias of the interface itself, so that the world is the only
database: a restarted netemu reads its links and knows whose they are and what was asked of them.
"""

from __future__ import annotations

import re
from base64 import b85decode, b85encode
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields, replace

from services.contracts.links import LINK_OPTIONS, MAX_LATENCY_US, Direction, LinkModel
from services.contracts.names import WALT_NET
from services.contracts.nodes import WALT_NET_ID, Network

OURS = "walt "
WALT_NET_MTU = 1500
LARGEST_MTU = 65521  # of a tap
UNFINISHED = "walt-unfinished"  # the name of an interface while it is made
NOBODY = "-"  # stands for an empty owner in an alias


@dataclass(frozen=True)
class Port:
    """One interface of one node on one network; compensation_us: what the platform itself adds, measured."""

    node_id: int
    node: str
    owner: str
    slot: int
    network: Network
    link: LinkModel = field(default_factory=LinkModel)
    compensation_us: int = 0

    @property
    def tap(self) -> str:
        """What qemu opens."""
        return tap_name(self.node_id, self.slot)

    @property
    def bridge(self) -> str:
        return bridge_name(self.network.id)

    @property
    def mtu(self) -> int:
        """On a network of their own nodes may use frames as large as they like; walt-net is also the server's."""
        return WALT_NET_MTU if self.network.id == WALT_NET_ID else LARGEST_MTU

    @property
    def applied(self) -> LinkModel:
        """What the back-end is told: the asked link less what the platform adds by itself, never below 0."""
        latency_us = max(0, self.link.up.latency_us - self.compensation_us)
        return replace(self.link, up=replace(self.link.up, latency_us=latency_us))


def tap_name(node_id: int, slot: int) -> str:
    return f"vn{node_id}e{slot}"


def bridge_name(network_id: int) -> str:
    return WALT_NET if network_id == WALT_NET_ID else f"net{network_id}"


def helpers(tap: str) -> dict[str, str]:
    """Interfaces that belong to a shaped port: the cable's ends towards node and bridge, the kernel's ifb."""
    port = tap.removeprefix("vn")
    return {"node_end": f"cn{port}", "bridge_end": f"cb{port}", "ifb": f"ib{port}"}


def network_alias(network: Network) -> str:
    return f"{OURS}network {network.id} {network.name} {network.owner or NOBODY}"


def helper_alias(tap: str) -> str:
    return f"{OURS}helper {tap}"


def unfinished_alias(tap: str) -> str:
    """Of a helper that does not do its work yet."""
    return f"{helper_alias(tap)} unfinished"


def port_alias(port: Port) -> str:
    """Node and slot are in the name of the tap; the link is written as one number, so that with the longest of names and
    every option an alias still fits the kernel's 254 bytes."""
    return (
        f"{OURS}port {port.node} {port.owner or NOBODY} "
        f"{_base36(port.network.id)} {port.network.name} {port.network.owner or NOBODY} {_pack(_values(port))}"
    )


_TAP = re.compile(r"vn(\d+)e(\d+)", re.ASCII)
_PORT = re.compile(r"walt port (\S+) (\S+) ([0-9a-z]+) (\S+) (\S+) (\S+)", re.ASCII)


def parse_port_alias(name: str, alias: str) -> Port | None:
    """The port whose tap is this interface, or None when it is not the tap of a port."""
    tap, match = _TAP.fullmatch(name), _PORT.fullmatch(alias)
    values = _unpack(match[6]) if match else None
    if tap is None or match is None or values is None:
        return None
    node, owner, network_id, network, network_owner, _ = match.groups()
    compensation_us, *ways = values
    return Port(
        node_id=int(tap[1]),
        node=node,
        owner=_person(owner),
        slot=int(tap[2]),
        network=Network(int(network_id, 36), network, _person(network_owner)),
        link=LinkModel(Direction(*ways[: len(_RADIX)]), Direction(*ways[len(_RADIX) :])),
        compensation_us=compensation_us,
    )


def _person(text: str) -> str:
    return "" if text == NOBODY else text


_MAXIMA = {option.field: option.maximum for option in LINK_OPTIONS.values()}
_RADIX = [_MAXIMA[one.name] + 1 for one in fields(Direction)]
_RADICES = [MAX_LATENCY_US + 1, *_RADIX, *_RADIX]  # compensation, up, down


def _values(port: Port) -> list[int]:
    return [port.compensation_us, *astuple(port.link.up), *astuple(port.link.down)]


def _pack(values: Sequence[int]) -> str:
    """Digits of a number in mixed radix, the first the least; that number in base 85."""
    number = 0
    for value, radix in zip(reversed(values), reversed(_RADICES), strict=True):
        number = number * radix + value
    return b85encode(number.to_bytes(number.bit_length() // 8 + 1)).decode()


def _unpack(text: str) -> list[int] | None:
    """None for what was not packed."""
    try:
        number = int.from_bytes(b85decode(text))
    except ValueError:
        return None
    values = []
    for radix in _RADICES:
        number, value = divmod(number, radix)
        values.append(value)
    return None if number else values


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (_base36(number // 36) if number >= 36 else "") + digits[number % 36]
