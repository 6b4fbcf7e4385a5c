"""Pure: the subnets of users' networks, and the addresses of nodes on them.

Networks of two owners never meet, so the subnets of one owner differ among themselves only: everybody's first network
has the first of the pool. An address that a node has on a network stays while it is in there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from walt.contracts import port_addresses
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.network_uses import NetworkUse
from walt.contracts.port_addresses import NONE, Subnet, without_prefix

POOLS = "10.64.0.0/10,fd77:616c:7400::/48"
POOLS_RULE = "none, or an IPv4 and an IPv6 network as 10.64.0.0/10,fd77:616c:7400::/48, or one of them"
PREFIXES = {4: 24, 6: 64}  # of the subnet of one network


@dataclass(frozen=True)
class AddressPlan:
    """pools: where the subnets come from, one of a family at most; walt_net: the subnet that no other may overlap."""

    pools: tuple[Subnet, ...] = ()
    walt_net: str = ""


@dataclass(frozen=True)
class TakenAddresses:
    """Of one network, without prefixes. by_others: of its other ports; reserved: asked for by nodes that are yet to get
    theirs, so that no other gets them by chance."""

    by_others: Collection[str] = ()
    reserved: Collection[str] = ()


def parse_pools(text: str) -> tuple[Subnet, ...]:
    """ValueError(what is allowed)."""
    if text == NONE:
        return ()
    pools = tuple(map(ipaddress.ip_network, text.split(",")))
    versions = [pool.version for pool in pools]
    if len(set(versions)) < len(versions) or any(pool.prefixlen > PREFIXES[pool.version] for pool in pools):
        raise ValueError(POOLS_RULE)
    return pools


def new_subnets(plan: AddressPlan, taken: Collection[str]) -> tuple[str, ...]:
    """For a new network; taken: by the other networks of its owner. Conflict when a pool has none left."""
    return tuple(_first_free(pool, _subnets(pool, plan), taken, "subnets") for pool in plan.pools)


def choose(
    use: NetworkUse, subnets: Sequence[str], present: Sequence[str], taken: TakenAddresses, plan: AddressPlan
) -> tuple[str, ...]:
    """The addresses of a port, as 10.64.0.1/24. subnets: of its network; present: its addresses so far. Conflict and
    InvalidRequest where it cannot have what was asked for."""
    asked = use.address
    if asked == NONE:
        return ()
    if port_addresses.is_one(asked):
        return (_check_free(use, asked, taken.by_others, plan),)
    chosen_from = port_addresses.subnet_of(asked)
    found = [chosen_from] if chosen_from else list(map(ipaddress.ip_network, subnets))
    for subnet in found:
        _check_overlap(use, subnet, plan)
    return tuple(_address_in(subnet, present, taken, use.name) for subnet in found)


def _address_in(subnet: Subnet, present: Iterable[str], taken: TakenAddresses, network: str) -> str:
    for address in present:
        if ipaddress.ip_interface(address).network == subnet and without_prefix(address) not in taken.by_others:
            return address
    hosts = map(str, subnet.hosts())
    used = {*taken.by_others, *taken.reserved}
    return f"{_first_free(subnet, hosts, used, f'addresses of {network}')}/{subnet.prefixlen}"


def _first_free(whole: Subnet, parts: Iterable[str], taken: Collection[str], what: str) -> str:
    free = next((part for part in parts if part not in taken), None)
    if free is None:
        raise Conflict(f"all {what} ({whole}) are taken; allowed: addr=none, or an address of another subnet")
    return free


def _subnets(pool: Subnet, plan: AddressPlan) -> Iterator[str]:
    for subnet in pool.subnets(new_prefix=PREFIXES[pool.version]):
        if not _overlaps(subnet, plan):
            yield str(subnet)


def _check_free(use: NetworkUse, address: str, taken: Collection[str], plan: AddressPlan) -> str:
    _check_overlap(use, ipaddress.ip_interface(address).network, plan)
    bare = without_prefix(address)
    if bare in taken:
        raise Conflict(f"{use.name}: {bare} is the address of another node there; allowed: a free one")
    return address


def _check_overlap(use: NetworkUse, subnet: Subnet, plan: AddressPlan) -> None:
    if _overlaps(subnet, plan):
        raise InvalidRequest(
            f"{use.name}: addr={use.address} overlaps walt-net ({plan.walt_net}), by which the node is reached; "
            "allowed: another subnet, or none"
        )


def _overlaps(subnet: Subnet, plan: AddressPlan) -> bool:
    return subnet.version == 4 and bool(plan.walt_net) and subnet.overlaps(ipaddress.IPv4Network(plan.walt_net))
