"""Pure: the interfaces of a tunnel, through which the ports of a network reach those on other hosts.

A VXLAN device whose VNI is the id of the network, and a veth pair that joins it to the bridge:

    net5 ── vb5 == vt5 ──redirected── vx5 ── the other hosts

It is no port of the bridge itself, since the kernel would then answer a packet that must not be fragmented (DF) and
does not fit the underlay with an ICMP of its own, in the name of the node it is for. So frames of any size pass, as
they do within a host: in pieces where the underlay takes them in pieces only.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.netemu.ports.plan import KernelInterface
from services.netemu.ports.port import ALIAS_PREFIX, LARGEST_MTU, WALT_NET_MTU, bridge_name
from walt.contracts.nodes import WALT_NET_ID

VXLAN_PORT = 4789  # UDP
TUNNEL_PREFIX = f"{ALIAS_PREFIX}tunnel "
HEADERS_BYTES = 50  # around the packet in a frame: Ethernet, VXLAN, UDP, IPv4


def vxlan_name(network_id: int) -> str:
    return f"vx{network_id}"


def bridge_end_name(network_id: int) -> str:
    return f"vb{network_id}"


def tunnel_end_name(network_id: int) -> str:
    return f"vt{network_id}"


def names(network_id: int) -> tuple[str, str, str]:
    return vxlan_name(network_id), bridge_end_name(network_id), tunnel_end_name(network_id)


def tunnel_alias(underlay: str) -> str:
    """underlay: the address of this host from which its frames come."""
    return f"{TUNNEL_PREFIX}{underlay}"


def mtu_of(network_id: int) -> int:
    """As that of the taps of the network."""
    return WALT_NET_MTU if network_id == WALT_NET_ID else LARGEST_MTU


def is_of_tunnel(interface: KernelInterface) -> bool:
    return interface.alias.startswith(TUNNEL_PREFIX)


def tunnels(interfaces: Iterable[KernelInterface], underlay: str) -> tuple[set[int], list[str]]:
    """The ids of the networks that have a complete tunnel from this address, and the names of what else there is of
    tunnels, as a kill, another address or the end of a bridge leave it behind."""
    by_name = {one.name: one for one in interfaces if is_of_tunnel(one)}
    complete = {
        network_id
        for network_id in map(_network_id, by_name)
        if all(one in by_name and by_name[one].alias == tunnel_alias(underlay) for one in names(network_id))
        and by_name[bridge_end_name(network_id)].master == bridge_name(network_id)
    }
    return complete, [name for name in by_name if _network_id(name) not in complete]


def _network_id(name: str) -> int:
    """Of an interface with an alias of ours."""
    return int(name[2:])
