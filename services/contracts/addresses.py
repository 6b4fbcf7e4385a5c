"""Who has which address of walt-net. Pure.

The first is the server's. The upper quarter is for machines that ask for theirs by DHCP, the rest for virtual nodes: an
address that DHCP gives is never one that the registry gives to a virtual node at the same moment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address

QUARTERS = 4


def server(subnet: str) -> IPv4Address:
    return ipaddress.IPv4Network(subnet)[1]


def of_virtual_nodes(subnet: str) -> Iterator[IPv4Address]:
    network, (first, _) = ipaddress.IPv4Network(subnet), of_machines(subnet)
    return (network[number] for number in range(2, int(first) - int(network[0])))


def of_machines(subnet: str) -> tuple[IPv4Address, IPv4Address]:
    """The first and the last of them."""
    network = ipaddress.IPv4Network(subnet)
    return network[-(network.num_addresses // QUARTERS)], network[-2]


def is_of_machine(subnet: str, address: str) -> bool:
    first, last = of_machines(subnet)
    return first <= IPv4Address(address) <= last
