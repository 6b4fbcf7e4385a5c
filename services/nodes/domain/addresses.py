"""Pure: addresses, MACs and PCI slots of nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from walt.contracts import walt_net_addresses
from walt.contracts.errors import Conflict
from walt.contracts.network_uses import NetworkUse
from walt.contracts.nodes import FIRST_SLOT, Interface, Network

MAC_PREFIX = "52:54:00"  # qemu's own, as libvirt and the original use it
MAC_BITS = 24


@dataclass(frozen=True)
class AddressedPort:
    """What the registry has given a node on one network. addresses: with their prefixes."""

    mac: str
    network: Network
    addresses: tuple[str, ...] = ()


def free_addresses(subnet: str, taken: Collection[str]) -> Iterator[str]:
    """In ascending order; Conflict when there are no more."""
    yield from (text for text in map(str, walt_net_addresses.of_virtual_nodes(subnet)) if text not in taken)
    raise Conflict(f"all addresses for virtual nodes on walt-net ({subnet}) are taken; remove a node first")


def new_mac(is_taken: Callable[[str], bool], random_bits: Callable[[int], int]) -> str:
    while True:
        tail = random_bits(MAC_BITS).to_bytes(MAC_BITS // 8, "big")
        mac = f"{MAC_PREFIX}:{tail.hex(':')}"
        if not is_taken(mac):
            return mac


def interfaces(uses: Sequence[NetworkUse], ports: Mapping[str, AddressedPort]) -> tuple[Interface, ...]:
    """In the order of the setting, which so decides the PCI slots and the guest's ens2, ens3, …. ports: by the name of
    the network."""
    found = [(slot, use.link, ports[use.name]) for slot, use in enumerate(uses, FIRST_SLOT)]
    return tuple(Interface(slot, port.mac, port.network, link, port.addresses) for slot, link, port in found)
