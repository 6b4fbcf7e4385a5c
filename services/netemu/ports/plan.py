"""Pure: from the ports as they are and the ports a node should have to the list of actions that makes them so.

plan(wanted, wanted) is empty. A name that another interface of the host has is never taken over: Failed.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.netemu.ports import netem
from services.netemu.ports.port import (
    ALIAS_PREFIX,
    UNFINISHED,
    Port,
    bridge_name,
    helper_alias,
    helpers,
    parse_port_alias,
)
from walt.contracts.errors import Failed
from walt.contracts.links import LinkModel
from walt.contracts.netemu import CABLE, DIRECT, KERNEL
from walt.contracts.nodes import WALT_NET_ID, Network

BROKEN = "broken"  # some piece of the port is missing: it passes no frame, and is wired anew


@dataclass(frozen=True)
class KernelInterface:
    """A network interface as the kernel describes it. master: the bridge it is in, '' for none; group: a number by
    which packet filters tell interfaces apart; forwards_group_addresses: of a bridge or a port, see
    kernel/group_addresses.py; learns_few_addresses: of a bridge, see kernel/forwarding_table.py."""

    name: str
    kind: str
    alias: str
    master: str
    mac: str = ""
    is_up: bool = False
    group: int = 0
    forwards_group_addresses: bool = False
    learns_few_addresses: bool = False

    @property
    def is_ours(self) -> bool:
        return self.alias.startswith(ALIAS_PREFIX)


@dataclass(frozen=True)
class PortState:
    """A port as it is. applied: what the back-end really does."""

    port: Port
    backend: str
    applied: LinkModel


@dataclass(frozen=True)
class Snapshot:
    """One reading of the interfaces and the cable. shaper: the back-end of this host for what netem can do
    (KERNEL or CABLE); ports: by tap; foreign: names of interfaces that are not ours."""

    shaper: str
    bridges: frozenset[str] = frozenset()
    ports: dict[str, PortState] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()

    def of_node(self, node_id: int) -> list[PortState]:
        return self._by_node.get(node_id, [])

    def bridges_without(self, node_id: int) -> set[str]:
        """Those that have no port, but perhaps of this node."""
        own = Counter(state.port.bridge for state in self.of_node(node_id))
        left = {bridge for bridge, count in own.items() if bridge in self.bridges and count == self._ports_on[bridge]}
        return left | self._empty

    @functools.cached_property
    def _by_node(self) -> dict[int, list[PortState]]:
        found: dict[int, list[PortState]] = {}
        for state in self.ports.values():
            found.setdefault(state.port.node_id, []).append(state)
        return found

    @functools.cached_property
    def _ports_on(self) -> Counter[str]:
        return Counter(state.port.bridge for state in self.ports.values())

    @functools.cached_property
    def _empty(self) -> frozenset[str]:
        return self.bridges - self._ports_on.keys()


@dataclass(frozen=True)
class MakeBridge:
    network: Network


@dataclass(frozen=True)
class MakePort:
    port: Port


@dataclass(frozen=True)
class SetLink:
    """Wire the port through this back-end, with the link it should have. previous: the back-end until now."""

    port: Port
    backend: str
    previous: str


@dataclass(frozen=True)
class LabelPort:
    """Always the last action on a port: what its alias says has been done."""

    port: Port


@dataclass(frozen=True)
class RemovePort:
    port: Port


@dataclass(frozen=True)
class RemoveBridge:
    name: str


Action = MakeBridge | MakePort | SetLink | LabelPort | RemovePort | RemoveBridge


def snapshot_of(interfaces: Iterable[KernelInterface], cabled: dict[str, LinkModel], shaper: str) -> Snapshot:
    """cabled: the links that the cable applies, by tap."""
    by_name = {interface.name: interface for interface in interfaces}
    ports = {}
    for interface in by_name.values():
        port = parse_port_alias(interface.name, interface.alias)
        if port is not None:
            ports[interface.name] = _state(port, by_name, cabled)
    ours = {interface.name for interface in by_name.values() if interface.is_ours}
    bridges = frozenset(name for name in ours if by_name[name].kind == "bridge")
    return Snapshot(shaper, bridges, ports, frozenset(by_name) - ours)


def _state(port: Port, interfaces: dict[str, KernelInterface], cabled: dict[str, LinkModel]) -> PortState:
    ends = {role: interfaces[name] for role, name in helpers(port.tap).items() if name in interfaces}
    on_bridge = interfaces[port.tap].master == port.bridge
    if any(end.alias != helper_alias(port.tap) for end in ends.values()):
        return PortState(port, BROKEN, LinkModel())
    if ends.keys() == {"node_end", "bridge_end"} and not on_bridge:
        if port.tap in cabled and ends["bridge_end"].master == port.bridge:
            return PortState(port, CABLE, cabled[port.tap])
    elif ends.keys() == {"ifb"} and on_bridge:
        return PortState(port, KERNEL, port.applied)
    elif not ends and on_bridge:
        return PortState(port, DIRECT, LinkModel())
    return PortState(port, BROKEN, LinkModel())


def backend_of(shaper: str, link: LinkModel) -> str:
    """What carries this link on a host with this shaper."""
    if not link.shapes:
        return DIRECT
    return CABLE if netem.exceeds_netem(link) else shaper


def plan(snapshot: Snapshot, node_id: int, wanted: Sequence[Port], *, live: bool = False) -> list[Action]:
    """The actions after which the node has exactly these ports.

    live: the node may be running. Its ports then keep their back-end, since a change of back-end would lose the frames
    in flight, unless the new link is more than netem can do.
    """
    _check_names(snapshot, wanted)
    actions: list[Action] = []
    kept = {port.tap for port in wanted}
    for state in snapshot.of_node(node_id):
        if state.port.tap not in kept:
            actions.append(RemovePort(state.port))
    bridges = set(snapshot.bridges)
    for port in wanted:
        if port.bridge not in bridges:
            bridges.add(port.bridge)
            actions.append(MakeBridge(port.network))
        actions += _plan_port(snapshot, port, live)
    return actions + _empty_bridges(snapshot, node_id, wanted)


def _plan_port(snapshot: Snapshot, port: Port, live: bool) -> list[Action]:
    state = snapshot.ports.get(port.tap)
    actions: list[Action] = []
    if state is not None and state.port.network.id != port.network.id:
        actions.append(RemovePort(state.port))
        state = None
    if state is None:
        actions.append(MakePort(port))
    previous = state.backend if state else BROKEN
    backend = backend_of(snapshot.shaper, port.link)
    if live and previous not in (BROKEN, DIRECT) and (previous, backend) != (KERNEL, CABLE):
        backend = previous
    has_changed = (
        state is None or state.applied != port.applied or (backend == CABLE and state.port.owner != port.owner)
    )
    if previous != backend or (backend != DIRECT and has_changed):
        actions.append(SetLink(port, backend, previous))
    if state is None or state.port != port:
        actions.append(LabelPort(port))
    return actions


def _empty_bridges(snapshot: Snapshot, node_id: int, wanted: Sequence[Port]) -> list[Action]:
    """Remove bridges that lose their last port, or have had none since a crash; walt-net stays."""
    used = {port.bridge for port in wanted} | {bridge_name(WALT_NET_ID)}
    return [RemoveBridge(name) for name in sorted(snapshot.bridges_without(node_id) - used)]


def _check_names(snapshot: Snapshot, wanted: Sequence[Port]) -> None:
    for port in wanted:
        for name in (port.bridge, port.tap, *helpers(port.tap).values()):
            _check_name(snapshot, name, f"{port.node} on {port.network.name}")


def _check_name(snapshot: Snapshot, name: str, purpose: str) -> None:
    if name in snapshot.foreign:
        raise Failed(
            f"the interface name {name}, wanted for {purpose}, is taken by something that is not walt's; "
            "rename or remove that interface"
        )


def plan_walt_net(snapshot: Snapshot) -> list[Action]:
    """The platform's own network is there before any node is."""
    walt_net = Network(WALT_NET_ID, bridge_name(WALT_NET_ID), "")
    _check_name(snapshot, walt_net.name, "the network of the platform")
    return [] if walt_net.name in snapshot.bridges else [MakeBridge(walt_net)]


def plan_repair(snapshot: Snapshot) -> list[Action]:
    """Wire anew the ports that pass no frame, because their cable died or a change was cut short."""
    broken = [state.port for state in snapshot.ports.values() if state.backend == BROKEN]
    return [SetLink(port, backend_of(snapshot.shaper, port.link), BROKEN) for port in broken]


def plan_empty_bridges(snapshot: Snapshot) -> list[Action]:
    return _empty_bridges(snapshot, -1, ())


def kept_group_addresses(interfaces: Iterable[KernelInterface]) -> list[KernelInterface]:
    """Bridges and ports of users' networks that do not forward group addresses: an older version made them."""
    interfaces = list(interfaces)
    bridges = {one.name for one in interfaces if one.is_ours and one.kind == "bridge"} - {bridge_name(WALT_NET_ID)}
    on_networks = [one for one in interfaces if one.is_ours and bridges & {one.name, one.master}]
    return [one for one in on_networks if not one.forwards_group_addresses]


def orphans(snapshot: Snapshot, interfaces: Iterable[KernelInterface]) -> list[str]:
    """What a kill leaves behind: unfinished interfaces, and helper interfaces whose port is gone."""
    complete = {helper_alias(tap) for tap in snapshot.ports}
    prefix = f"{ALIAS_PREFIX}helper "
    candidates = [one for one in interfaces if one.alias.startswith(prefix) or one.name == UNFINISHED]
    return [one.name for one in candidates if one.alias not in complete]
