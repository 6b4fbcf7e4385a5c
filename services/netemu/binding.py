"""Each node speaks on walt-net in its own name only: what it sends must come from its MAC and, within the subnet, from
its address. The platform tells nodes apart by these (seed.tar, /persist, names).

One chain for each node, found by its tap: what it does with its other addresses, as on networks of its own, is let be.
Frames with a VLAN tag are dropped, as they would hide what they carry; so is what only the platform may say (DHCP
answers, router advertisements), and what only machines with a ROM of their own may ask: an address by DHCP, which would be
another than the node's and could be asked for until none is left. The rules are the kernel's: a restart of netemu opens nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.contracts.errors import Failed
from services.contracts.nodes import FIRST_SLOT, WALT_NET_ID, Interface, NodeWanted
from services.contracts.settings import MAX_NETWORKS
from services.kit.commands import run
from services.netemu.ports import Port, tap_name

TABLE = "walt_binding"
PORTS = "ports"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Binding:
    """What comes from this tap comes from this MAC and this address."""

    node_id: int
    tap: str
    mac: str
    ip: str


def base() -> str:
    """The table, with what is in it kept. Pure."""
    return f"""
table bridge {TABLE} {{
  map {PORTS} {{ type ifname : verdict; }}
  chain prerouting {{ type filter hook prerouting priority -300; policy accept; }}
}}
flush chain bridge {TABLE} prerouting
add rule bridge {TABLE} prerouting iifname vmap @{PORTS}
"""


def bound(one: Binding, subnet: str) -> str:
    """This node speaks through this tap alone, and in its own name. Pure."""
    chain = _chain(one.node_id)
    return f"""
{unbound(one.node_id)}
table bridge {TABLE} {{
  chain {chain} {{
    ether type != {{ arp, ip, ip6 }} drop
    ether saddr != {one.mac} drop
    arp saddr ether != {one.mac} drop
    arp saddr ip {subnet} arp saddr ip != {one.ip} drop
    ip saddr {subnet} ip saddr != {one.ip} drop
    udp sport 67 drop
    udp dport 67 drop
    icmpv6 type nd-router-advert drop
  }}
}}
add element bridge {TABLE} {PORTS} {{ {one.tap} : jump {chain} }}
"""


def unbound(node_id: int) -> str:
    """No tap of this node is in the map, its chain is empty; whatever was there before. Pure."""
    chain = _chain(node_id)
    taps = [tap_name(node_id, slot) for slot in range(FIRST_SLOT, FIRST_SLOT + MAX_NETWORKS)]
    # A node is bound by one tap at a time, and to delete what is not there is an error.
    added = ", ".join(f"{tap} : jump {chain}" for tap in taps)
    return f"""
add chain bridge {TABLE} {chain}
add element bridge {TABLE} {PORTS} {{ {added} }}
delete element bridge {TABLE} {PORTS} {{ {", ".join(taps)} }}
flush chain bridge {TABLE} {chain}
"""


def of_interfaces(node_id: int, ip: str, interfaces: Sequence[Interface]) -> list[Binding]:
    """Of a node whose ports are these. Pure."""
    return [
        Binding(node_id, tap_name(node_id, one.slot), one.mac, ip)
        for one in interfaces
        if one.network.id == WALT_NET_ID and ip
    ]


def of_ports(ports: Iterable[Port], wanted: Iterable[NodeWanted]) -> list[Binding]:
    """Of the ports as they are, whatever comes with the next boot. Pure."""
    nodes = {node.id: node for node in wanted}
    return [
        Binding(port.node_id, port.tap, nodes[port.node_id].walt_net.mac, nodes[port.node_id].ip)
        for port in ports
        if port.network.id == WALT_NET_ID and port.node_id in nodes
    ]


def _chain(node_id: int) -> str:
    return f"node{node_id}"


class Bindings:
    """`fault`: why nothing is bound here, as on a kernel without packet filters for bridges."""

    def __init__(self, subnet: str) -> None:
        self._subnet = subnet
        self.fault = ""

    def guard(self) -> None:
        """Make the table; who is bound stays so."""
        try:
            _nft(base())
        except Failed as error:
            self.fault = str(error)
            log.error("addresses on walt-net are not bound to nodes: %s", error)

    def bind(self, bindings: Iterable[Binding]) -> None:
        """In one step, in which nobody is free; doing it again changes nothing."""
        self._apply("".join(bound(one, self._subnet) for one in bindings))

    def forget(self, node_id: int) -> None:
        self._apply(unbound(node_id) + f"delete chain bridge {TABLE} {_chain(node_id)}\n")

    def _apply(self, commands: str) -> None:
        if commands and not self.fault:
            _nft(commands)


def _nft(commands: str) -> None:
    run(["nft", "-f", "-"], stdin=commands)
