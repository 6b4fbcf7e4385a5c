"""Pure: what a port is, what its interfaces are called, and how they are labelled.

Everything netemu must remember is in the alias of the interface itself, so that the world is the only
database: a restarted netemu reads its links and knows whose they are and what was asked of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from services.contracts.links import Direction, LinkModel
from services.contracts.names import WALT_NET
from services.contracts.nodes import WALT_NET_ID, Network

OURS = "walt "
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
        return f"vn{self.node_id}e{self.slot}"

    @property
    def bridge(self) -> str:
        return bridge_name(self.network.id)

    @property
    def applied(self) -> LinkModel:
        """What the back-end is told: the asked link less what the platform adds by itself, never below 0."""
        latency_us = max(0, self.link.up.latency_us - self.compensation_us)
        return replace(self.link, up=replace(self.link.up, latency_us=latency_us))


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


def port_alias(port: Port) -> str:
    return (
        f"{OURS}port {port.node_id}/{port.slot} {port.node} {port.owner or NOBODY} "
        f"{port.network.id} {port.network.name} {port.network.owner or NOBODY} "
        f"{port.compensation_us}us {_link_text(port.link)}"
    )


_PORT = re.compile(r"walt port (\d+)/(\d+) (\S+) (\S+) (\d+) (\S+) (\S+) (\d+)us (\d+:\d+/\d+:\d+)")


def parse_port_alias(alias: str) -> Port | None:
    """The port that carries this alias, or None when it is not the alias of a port."""
    match = _PORT.fullmatch(alias)
    if match is None:
        return None
    node_id, slot, node, owner, network_id, network, network_owner, compensation, link = match.groups()
    return Port(
        node_id=int(node_id),
        node=node,
        owner=_person(owner),
        slot=int(slot),
        network=Network(int(network_id), network, _person(network_owner)),
        link=_parse_link(link),
        compensation_us=int(compensation),
    )


def _person(text: str) -> str:
    return "" if text == NOBODY else text


def _link_text(link: LinkModel) -> str:
    """Bare numbers: with the longest of names an alias still fits the kernel's 255 bytes."""
    return "/".join(f"{way.latency_us}:{way.rate_bps}" for way in (link.up, link.down))


def _parse_link(text: str) -> LinkModel:
    up, down = (Direction(*map(int, way.split(":"))) for way in text.split("/"))
    return LinkModel(up, down)
