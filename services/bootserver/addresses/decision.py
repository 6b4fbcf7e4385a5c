"""Whether the running system of a node has to be given addresses, and what it has. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from services.bootserver.boot.boot_records import BootRecord
from walt.contracts import bootserver
from walt.contracts.bootserver import BootInterface, BootRequest, SetAddresses
from walt.contracts.nodes import POWER_ON, WALT_NET_ID, NodeWanted

Pair = tuple[str, str]  # (MAC address of the interface, address with its prefix or, with a + before it, its name)
NAME = "+"
OWN_SCRIPT = "its image boots by a script of its own, and gets none"
BEING_SET = "it is being set"
AT_NEXT_BOOT = "at its next boot"


@dataclass(frozen=True)
class Given:
    """What the system of one run was given last. refused: what of it the guest could not take, and why; left: networks
    that it has left since then: if it is in them again, its interfaces there are new."""

    run: int
    interfaces: tuple[BootInterface, ...]
    refused: Mapping[Pair, str] = field(default_factory=dict)
    left: Collection[str] = ()


def given(record: BootRecord, latest: Given | None) -> Given | None:
    """latest: as the node answered last, of any run. None: it is not known, as it was given before a restart."""
    if latest is not None and latest.run == record.request.run:
        return latest
    return None if record.is_addressed_anew else Given(record.request.run, record.request.interfaces)


def is_due(record: BootRecord, spec: NodeWanted, known: Given | None) -> bool:
    """Not in a system that is to end: of a former owner, or of a node that is to be off."""
    is_of_owner = (record.request.owner, record.request.owner_account) == (spec.owner, spec.owner_account)
    if not record.booted_at or spec.power != POWER_ON or not is_of_owner:
        return False
    return known is None or bool(known.left) or not _is_current(known, spec)


def left(spec: NodeWanted, known: Given) -> set[str]:
    """The networks of what it was given that it is not in any more."""
    return {one.network for one in known.interfaces} - {one.network.label for one in spec.interfaces}


def wanted(spec: NodeWanted, known: Given | None) -> list[Pair]:
    """What the guest is told: first the interfaces that are new to its system, to be named and up."""
    had = {one.network for one in known.interfaces} - set(known.left) if known is not None else set()
    own = [one for one in spec.interfaces if one.network.id != WALT_NET_ID]
    names = [(one.mac, f"{NAME}ens{one.slot}") for one in own if one.network.label not in had]
    return names + [(one.mac, address) for one in own for address in one.addresses]


def absent(refused: Iterable[Pair]) -> set[str]:
    """MAC addresses of the new interfaces that the guest does not have yet."""
    return {mac for mac, word in refused if word.startswith(NAME)}


def without(spec: NodeWanted, macs: Collection[str]) -> NodeWanted:
    return replace(spec, interfaces=tuple(one for one in spec.interfaces if one.mac not in macs))


def new(spec: NodeWanted, known: Given | None) -> list[Pair]:
    """Of those wanted, what the system was not given before."""
    had = set(_triples(known.interfaces if known is not None else ()))
    return [
        (interface.mac, address)
        for interface in spec.interfaces
        for address in interface.addresses
        if (interface.slot, interface.network.label, address) not in had
    ]


def request_of_hosts(record: BootRecord, spec: NodeWanted) -> BootRequest:
    """The system keeps its name until its next boot."""
    return replace(record.request, interfaces=bootserver.interfaces_of(spec))


def views(spec: NodeWanted, known: Given | None, fault: str) -> Iterator[SetAddresses]:
    """fault: why the present addresses could not be set, "" where nothing failed."""
    is_current = known is not None and _is_current(known, spec)
    for interface in spec.interfaces:
        had = _of_network(known, interface.network.label)
        if not had and not interface.addresses:
            continue
        refused = known.refused if known is not None else {}
        why = dict.fromkeys(refused[interface.mac, one] for one in had if (interface.mac, one) in refused)
        shown = None if known is None else tuple(one for one in had if (interface.mac, one) not in refused)
        reason = "; ".join([*why, AT_NEXT_BOOT] if why else ()) if is_current else fault or BEING_SET
        yield SetAddresses(spec.id, interface.mac, shown, reason)


def without_addresses(spec: NodeWanted) -> Iterator[SetAddresses]:
    """Of a node whose image boots by a script of its own."""
    for interface in spec.interfaces:
        if interface.addresses:
            yield SetAddresses(spec.id, interface.mac, (), OWN_SCRIPT)


def _of_network(known: Given | None, network: str) -> list[str]:
    interfaces = known.interfaces if known is not None else ()
    return [address for one in interfaces if one.network == network for address in one.addresses]


def _triples(interfaces: Iterable[BootInterface]) -> Iterator[tuple[int, str, str]]:
    for one in interfaces:
        for address in one.addresses or ("",):
            yield one.slot, one.network, address


def _is_current(known: Given, spec: NodeWanted) -> bool:
    return set(_triples(known.interfaces)) == set(_triples(bootserver.interfaces_of(spec)))
