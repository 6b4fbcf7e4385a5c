"""Pure: the hosts as the registry keeps them, and what becomes of a host when one of its agents announces itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from walt.contracts import netemu, units, walt_net_addresses
from walt.contracts.errors import Conflict, NotFound
from walt.contracts.hosts import (
    PRESENT,
    UNREACHABLE,
    AgentPresent,
    HostAddress,
    HostAddresses,
    HostView,
)
from walt.contracts.nodes import VIRTUAL, NodeView
from walt.contracts.vmrunner import Capacity

SERVER_NUMBER = 0
CAUSE_HOST_UNREACHABLE = "host-unreachable"

AnyHost = TypeVar("AnyHost")


@dataclass(frozen=True)
class HostRecord:
    """number: SERVER_NUMBER is the server's; ip: of its bridge on walt-net. underlay, version, capacity: as its agents
    last announced them. is_drained: no new node goes there."""

    name: str
    number: int
    ip: str
    underlay: str = ""
    version: str = ""
    is_drained: bool = False
    capacity: Capacity | None = None

    @property
    def address(self) -> HostAddress:
        return HostAddress(self.name, self.underlay, self.ip, walt_net_addresses.bridge_mac(self.number))


@dataclass(frozen=True)
class HostUse:
    """What the present virtual nodes of a host have. ram_bytes: of those that are on; leaving: nodes of other
    hosts, whose disks it has still."""

    nodes: int = 0
    ram_bytes: int = 0
    leaving: int = 0


def server_host(name: str, subnet: str) -> HostRecord:
    return HostRecord(name, SERVER_NUMBER, str(walt_net_addresses.server(subnet)))


def new_host(name: str, present: Collection[HostRecord], taken_ips: Collection[str], subnet: str) -> HostRecord:
    """The last free address of those for virtual nodes, which are given from the first; Conflict when there is none."""
    numbers = {host.number for host in present}
    number = next(one for one in range(SERVER_NUMBER + 1, len(numbers) + 2) if one not in numbers)
    taken = {*taken_ips, *(host.ip for host in present)}
    free = [ip for ip in map(str, walt_net_addresses.of_virtual_nodes(subnet)) if ip not in taken]
    if not free:
        raise Conflict(f"host {name} cannot join: all addresses for virtual nodes on walt-net ({subnet}) are taken")
    return HostRecord(name, number, free[-1])


def drained(host: HostRecord, is_drained: bool) -> HostRecord:
    return replace(host, is_drained=is_drained)


def announced(host: HostRecord, said: AgentPresent) -> HostRecord:
    """The host after this announcement; the same host when it says nothing new. Only netemu knows the underlay, and
    only vmrunner the capacity and the version that counts."""
    if said.agent == netemu.SERVICE:
        return replace(host, underlay=said.underlay)
    if said.capacity is not None:
        return replace(host, capacity=said.capacity, version=said.version)
    return host


def addresses(hosts: Iterable[HostRecord]) -> HostAddresses:
    ordered = sorted(hosts, key=lambda host: host.number)
    return HostAddresses(ordered[0].name, tuple(host.address for host in ordered))


def find(hosts: Mapping[str, AnyHost], name: str) -> AnyHost:
    """Of hosts by name; NotFound."""
    if name not in hosts:
        raise NotFound(f"no host '{name}'{units.nearest(name, sorted(hosts))}; list the hosts with: walt host list")
    return hosts[name]


def check_is_further(name: str, server: str) -> None:
    if name == server:
        raise Conflict(f"'{name}' is the server's own host; allowed: the name of another")


def check_removable(host: HostRecord, nodes: Collection[str], is_unreachable: bool) -> None:
    """nodes: names of those that the registry has on it, or that are to move there."""
    if host.number == SERVER_NUMBER:
        raise Conflict(f"'{host.name}' is the server's own host; allowed: any other")
    if nodes:
        some = ", ".join(sorted(nodes)[:5])
        raise Conflict(
            f"host '{host.name}' has {len(nodes)} nodes ({some}), or is to get them; allowed: a host without nodes"
        )
    if not is_unreachable:
        raise Conflict(f"the agents of host '{host.name}' run, and it would be back at once; allowed: once they do not")


def view(host: HostRecord, use: HostUse, unreachable_since: float | None) -> HostView:
    """unreachable_since: epoch seconds; None: its agents answer."""
    return HostView(
        name=host.name,
        state=PRESENT if unreachable_since is None else UNREACHABLE,
        since=unreachable_since or 0.0,
        is_drained=host.is_drained,
        is_server=host.number == SERVER_NUMBER,
        nodes=use.nodes,
        promised_bytes=use.ram_bytes,
        capacity=host.capacity,
        underlay=host.underlay,
        ip=host.ip,
        version=host.version,
        leaving=use.leaving,
    )


def seen_from_here(view: NodeView, unreachable_since: Mapping[str, float]) -> NodeView:
    """Of a node on a host that does not answer, the last state that was reported says nothing. A physical one reports
    without the agents of a host. unreachable_since: epoch seconds, by host."""
    since = unreachable_since.get(view.host)
    if since is None or view.type != VIRTUAL:
        return view
    reason = f"host {view.host} does not answer; it was {view.state} before"
    return replace(view, state=UNREACHABLE, since=since, reason=reason, cause=CAUSE_HOST_UNREACHABLE)
