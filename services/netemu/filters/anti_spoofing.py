"""On walt-net each node sends from its own addresses only: from its MAC and, within the subnet, from its IP address.
The platform tells nodes apart by these (seed.tar, /persist, names).

There is one chain for each node, found by the interface through which its frames enter the bridge: its tap, or the
bridge end of its cable. Every interface that netemu puts into walt-net is in an interface group; what comes from this
group without a binding is dropped. Addresses outside of the subnet, and other networks, are not checked. An IPv6
address is bound where it is made of a MAC (EUI-64), which is what nodes do by default: walt-net itself gives none.
Dropped are also frames with a VLAN tag, since they would hide what they carry; what only the platform may send (DHCP
answers, router advertisements, redirects); and DHCP requests, since a node has its address already, and could
otherwise exhaust the pool of the physical machines. The rules are in the kernel, so they hold while netemu restarts, as
do the counters of what they have dropped, one for each node.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.kit.say_once import SayOnce
from services.netemu.filters import nft
from services.netemu.kernel.netlink import WALT_NET_PORT_GROUP
from services.netemu.ports.port import Port, helpers, tap_name
from walt.contracts.errors import Failed
from walt.contracts.network_uses import MAX_NETWORKS
from walt.contracts.nodes import FIRST_SLOT, WALT_NET_ID, Interface, NodeWanted

TABLE = "walt_binding"
PORTS = "ports"
_PREFIX = "node"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Binding:
    """Frames of this tap must have this source MAC and this source address."""

    node_id: int
    tap: str
    mac: str
    ip: str

    @property
    def interfaces(self) -> tuple[str, str]:
        return entries(self.tap)

    @property
    def eui64(self) -> str:
        """The lower half of an IPv6 address made of the MAC, as hexadecimal digits."""
        first, *rest = bytes.fromhex(self.mac.replace(":", ""))
        return bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]]).hex()


def entries(tap: str) -> tuple[str, str]:
    """The interfaces through which frames of this tap can enter the bridge. Pure."""
    return tap, helpers(tap)["bridge_end"]


def table() -> str:
    """The table; the bindings in it stay. Pure."""
    return f"""
table bridge {TABLE} {{
  map {PORTS} {{ type ifname : verdict; }}
  chain prerouting {{ type filter hook prerouting priority -300; policy accept; }}
}}
flush chain bridge {TABLE} prerouting
add rule bridge {TABLE} prerouting iifname vmap @{PORTS}
add rule bridge {TABLE} prerouting iifgroup {WALT_NET_PORT_GROUP} drop
"""


def bind_commands(one: Binding, subnet: str) -> str:
    """Bind the node by this tap, and by no other. Pure."""
    chain = _chain(one.node_id)
    drop = f'counter name "{chain}" drop'
    iid = ":".join(one.eui64[place : place + 4] for place in range(0, 16, 4))
    is_another = f"@th,152,16 0xfffe @th,128,64 != 0x{one.eui64}"  # of the target of a neighbour message
    is_of_another_mac = f"@th,192,8 {{ 1, 2 }} @th,208,48 != {_number(one.mac)}"  # likewise
    added = ", ".join(f"{name} : jump {chain}" for name in one.interfaces)
    return f"""
{unbind_commands(one.node_id)}
add counter bridge {TABLE} {chain}
table bridge {TABLE} {{
  chain {chain} {{
    ether type != {{ arp, ip, ip6 }} {drop}
    ether saddr != {one.mac} {drop}
    arp saddr ether != {one.mac} {drop}
    arp saddr ip {subnet} arp saddr ip != {one.ip} {drop}
    ip saddr {subnet} ip saddr != {one.ip} {drop}
    udp sport 67 {drop}
    udp dport 67 {drop}
    ip6 saddr & ::ff:ff00:0 == ::ff:fe00:0 ip6 saddr & ::ffff:ffff:ffff:ffff != ::{iid} {drop}
    icmpv6 type {{ nd-router-advert, nd-redirect }} {drop}
    icmpv6 type nd-neighbor-advert {is_another} {drop}
    icmpv6 type nd-neighbor-solicit ip6 saddr :: {is_another} {drop}
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} {is_of_another_mac} {drop}
    accept
  }}
}}
add element bridge {TABLE} {PORTS} {{ {added} }}
"""


def unbind_commands(node_id: int) -> str:
    """Remove all interfaces of this node from the map, and empty its chain, whatever was there before. Pure."""
    chain = _chain(node_id)
    slots = range(FIRST_SLOT, FIRST_SLOT + MAX_NETWORKS)
    names = [name for slot in slots for name in entries(tap_name(node_id, slot))]
    # It is an error to delete an element that is not there: so all are added first.
    added = ", ".join(f"{name} : jump {chain}" for name in names)
    return f"""
add chain bridge {TABLE} {chain}
add element bridge {TABLE} {PORTS} {{ {added} }}
delete element bridge {TABLE} {PORTS} {{ {", ".join(names)} }}
flush chain bridge {TABLE} {chain}
"""


def bindings_of_interfaces(node_id: int, ip: str, interfaces: Sequence[Interface]) -> list[Binding]:
    """Of a node with these interfaces. Pure."""
    return [
        Binding(node_id, tap_name(node_id, one.slot), one.mac, ip)
        for one in interfaces
        if one.network.id == WALT_NET_ID and ip
    ]


def bindings_of_ports(ports: Iterable[Port], wanted: Iterable[NodeWanted]) -> list[Binding]:
    """Of the ports as they are now; the next boot may change them. Pure."""
    nodes = {node.id: node for node in wanted}
    return [
        Binding(port.node_id, port.tap, nodes[port.node_id].walt_net.mac, nodes[port.node_id].ip)
        for port in ports
        if port.network.id == WALT_NET_ID and port.node_id in nodes
    ]


def parse_counters(listed: str) -> dict[int, int]:
    """{node id: frames dropped} from `nft --json list counters`. Pure."""
    counters = [one["counter"] for one in json.loads(listed)["nftables"] if "counter" in one]
    return {int(one["name"].removeprefix(_PREFIX)): int(one["packets"]) for one in counters}


def _chain(node_id: int) -> str:
    """Also the name of its counter."""
    return f"{_PREFIX}{node_id}"


def _number(mac: str) -> str:
    return f"0x{mac.replace(':', '')}"


class Bindings:
    """fault: why nothing can be bound here, such as a kernel without packet filters for bridges; '' when it can.
    is_required: a node that cannot be bound gets no port on walt-net."""

    def __init__(self, subnet: str, *, is_required: bool = True) -> None:
        self._subnet = subnet
        self.is_required = is_required
        self._installing = SayOnce(
            log, "addresses on walt-net are not bound to nodes: %s", "addresses on walt-net are bound to nodes"
        )

    @property
    def fault(self) -> str:
        return self._installing.fault

    def install(self) -> None:
        """Make the table; the bindings in it stay."""
        try:
            nft.apply(table())
            self._installing.succeeded()
        except Failed as error:
            self._installing.failed(error)

    def bind(self, bindings: Iterable[Binding]) -> None:
        """In one step, so that no node is unbound in between; doing it again changes nothing. Failed when it is
        required and cannot be done."""
        commands = "".join(bind_commands(one, self._subnet) for one in bindings)
        if commands and self.fault:
            self.install()
        if commands and self.fault and self.is_required:
            raise Failed(f"addresses on walt-net cannot be bound to nodes: {self.fault}")
        self._apply(commands)

    def forget(self, node_id: int) -> None:
        chain = _chain(node_id)
        counter = f"add counter bridge {TABLE} {chain}\ndelete counter bridge {TABLE} {chain}\n"
        self._apply(f"{unbind_commands(node_id)}delete chain bridge {TABLE} {chain}\n{counter}")

    def dropped(self) -> dict[int, int]:
        """{node id: frames that it sent and may not send on walt-net}, since it had its first port there."""
        if self.fault:
            return {}
        return parse_counters(nft.read("list", "counters", "table", "bridge", TABLE))

    def _apply(self, commands: str) -> None:
        if commands and not self.fault:
            nft.apply(commands)
