"""What is read from the registry within one transaction: nodes by name or node set, events, rights, specs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from services.nodes.domain import model, ownership, selection
from services.nodes.domain.event_texts import EventQuery
from services.nodes.domain.hosts import HostUse
from services.nodes.domain.model import Node
from services.nodes.domain.ownership import Watchers
from services.nodes.domain.placement import HostPool
from services.nodes.domain.selection import Selection
from services.nodes.storage.registry import Registry
from walt.contracts.hosts import Fabric, HostAddresses, station_of
from walt.contracts.network_uses import NetworkUse
from walt.contracts.nodes import Event, NodeTarget, Specs


def select_nodes(registry: Registry, text: str, account: str) -> list[Node]:
    """The nodes of a node set, of which `my-nodes` are this account's; NotFound names every unknown name."""
    return _resolve(registry, selection.parse(text, account))


def find_node(registry: Registry, name: str) -> Node:
    """The node of this name; InvalidRequest for a node set, as one node is meant."""
    stored_name = selection.parse_one(name)
    node = registry.named(stored_name)
    if node is None:
        raise selection.not_found([name], registry.names())
    return node


def events(registry: Registry, account: str, text: str | None, query: EventQuery) -> list[Event]:
    """text: a node set, which may name nodes that are gone; None: the nodes that the account owns or owned."""
    if text is None:
        return registry.events.of(registry.names(account), query, account)
    selected = selection.parse(text, account)
    logged = registry.events.names(selected.names)
    rest = selection.without(selected, logged)
    return registry.events.of([*logged, *(node.name for node in _resolve(registry, rest))], query)


def authorize(registry: Registry, account: str, name: str, action: str, watchers: Watchers) -> NodeTarget:
    node = find_node(registry, name)
    ownership.check_action(node, account, action, watchers)
    return model.target(node)


def specs(registry: Registry, host: str = "") -> Specs:
    """Of the virtual and physical nodes of one host, or of every host."""
    nodes = registry.nodes() if not host else registry.nodes_of_host(host)
    return Specs(registry.identity, registry.specs(nodes), registry.history.revision)


def pool_in_use(registry: Registry, pool: HostPool, account: str, networks: Iterable[NetworkUse]) -> HostPool:
    """With what the hosts have of memory promised, and of ports on these networks of the account. Where there is one
    host only, nothing depends on it."""
    if len(pool.hosts) < 2:
        return pool
    use, ports = registry.hosts.use(), registry.hosts.ports(account, {one.name for one in networks})
    states = (
        replace(one, promised_bytes=use.get(one.name, HostUse()).ram_bytes, ports=ports.get(one.name, {}))
        for one in pool.hosts
    )
    return replace(pool, hosts=tuple(states))


def hosts_in_use(registry: Registry, pool: HostPool) -> HostPool:
    """As `pool_in_use`, for nodes of any account: how many ports their networks have on a host does not count."""
    return pool_in_use(registry, pool, "", ())


def fabric(registry: Registry, addresses: HostAddresses, host: str) -> Fabric:
    """For this host."""
    return Fabric(addresses, tuple(map(station_of, registry.specs(registry.nodes_of_others(host)))))


def _resolve(registry: Registry, selected: Selection) -> list[Node]:
    found = registry.selected(selected)
    unknown = selection.unknown_names(selected, {node.name for node in found})
    if unknown:
        raise selection.not_found(unknown, registry.names())
    return selection.resolve(selected, found)
