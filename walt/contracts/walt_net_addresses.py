"""How the addresses of walt-net are divided. Pure.

The first is the server's. The upper quarter is the DHCP pool of physical machines, the rest is for virtual nodes: so
DHCP can never lease an address that the registry gives to a virtual node at the same moment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address

QUARTERS = 4
SERVER_MAC = "52:57:41:4c:54:00"
RESOLVER_PORT = 54  # on the server: the name server that knows the outside, for nodes with netsetup=NAT


def bridge_mac(number: int) -> str:
    """Of the bridge walt-net of the host with this number; 0 is the server's."""
    return f"52:57:41:4d:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}" if number else SERVER_MAC


def server(subnet: str) -> IPv4Address:
    return ipaddress.IPv4Network(subnet)[1]


def of_virtual_nodes(subnet: str) -> Iterator[IPv4Address]:
    network, (first, _) = ipaddress.IPv4Network(subnet), of_machines(subnet)
    return (network[number] for number in range(2, int(first) - int(network[0])))


def of_machines(subnet: str) -> tuple[IPv4Address, IPv4Address]:
    """The first and the last address of the DHCP pool."""
    network = ipaddress.IPv4Network(subnet)
    return network[-(network.num_addresses // QUARTERS)], network[-2]


def is_of_machine(subnet: str, address: str) -> bool:
    first, last = of_machines(subnet)
    return first <= IPv4Address(address) <= last
