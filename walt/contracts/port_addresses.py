"""The word `addr` of a node's port on a network of its owner: which address its interface has. Pure.

  (not given), auto     one of the network's own subnets, IPv4 and IPv6, that the registry chooses
  addr=10.1.2.0/24      one of this subnet, that the registry chooses
  addr=10.1.2.7/24      this one
  addr=none             none: the interface is left alone

What the registry has chosen stays as long as the node is in the network.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

OPTION = "addr"
AUTOMATIC = ""
NONE = "none"
AUTO = "auto"  # how AUTOMATIC is said
RULE = "auto, none, an address as 10.1.2.7/24 or fd01::7/64, or a subnet as 10.1.2.0/24 to choose one from"
MIN_PREFIX = 8
LONGEST_SUBNET = {4: 30, 6: 126}  # with room for two nodes

Subnet = IPv4Network | IPv6Network
Address = IPv4Interface | IPv6Interface


def parse(text: str) -> str:
    """In its canonical form; ValueError(what is allowed)."""
    if text in (AUTO, NONE):
        return AUTOMATIC if text == AUTO else text
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(RULE) from None
    if "/" not in text or "%" in text or _is_special(found):
        raise ValueError(RULE)
    if found.version == 4 and found.ip == found.network.broadcast_address and found.network.prefixlen < 31:
        raise ValueError(f"{RULE}; {found.ip} is the broadcast address of {found.network}")
    return str(found)


def subnet_of(address: str) -> Subnet | None:
    """Of a word that names a subnet; None of others."""
    if address in (AUTOMATIC, NONE):
        return None
    found = ipaddress.ip_interface(address)
    is_subnet = found.ip == found.network.network_address and found.network.prefixlen <= LONGEST_SUBNET[found.version]
    return found.network if is_subnet else None


def is_one(address: str) -> bool:
    """Whether the word names an address, neither a subnet nor none."""
    return address not in (AUTOMATIC, NONE) and subnet_of(address) is None


def without_prefix(address: str) -> str:
    """'10.64.0.1/24' -> '10.64.0.1'"""
    return address.partition("/")[0]


def _is_special(address: Address) -> bool:
    bare = address.ip  # an interface of the standard library is never unspecified
    return bare.is_multicast or bare.is_loopback or bare.is_unspecified or address.network.prefixlen < MIN_PREFIX
