"""Pure: from the ports as they are and the ports a node should have to the list of actions that makes them so.

plan(wanted, wanted) is empty. A name that something of the host already bears is never touched: Failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.contracts.errors import Failed
from services.contracts.links import LinkModel
from services.contracts.netemu import CABLE, DIRECT, KERNEL
from services.contracts.nodes import WALT_NET_ID, Network
from services.netemu import netem
from services.netemu.ports import OURS, UNFINISHED, Port, bridge_name, helper_alias, helpers, parse_port_alias

BROKEN = "broken"  # some piece of the port is missing: it passes nothing, and is made anew


@dataclass(frozen=True)
class Link:
    """A network interface, as the kernel tells it."""

    name: str
    kind: str
    alias: str
    master: str
    mac: str = ""
    is_up: bool = False

    @property
    def is_ours(self) -> bool:
        return self.alias.startswith(OURS)


@dataclass(frozen=True)
class PortState:
    """A port as it is. applied: what the back-end really does."""

    port: Port
    backend: str
    applied: LinkModel


@dataclass(frozen=True)
class World:
    """All that is there. shaper: the back-end of this host for what netem can do (KERNEL or CABLE)."""

    shaper: str
    bridges: frozenset[str] = frozenset()
    ports: dict[str, PortState] = field(default_factory=dict)  # by tap
    foreign: frozenset[str] = frozenset()  # names taken by what is not ours

    def of_node(self, node_id: int) -> list[PortState]:
        return [state for state in self.ports.values() if state.port.node_id == node_id]


@dataclass(frozen=True)
class MakeBridge:
    network: Network


@dataclass(frozen=True)
class MakePort:
    port: Port


@dataclass(frozen=True)
class SetLink:
    """Wire the port through this back-end, with the link it should have."""

    port: Port
    backend: str
    was: str  # the back-end until now


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


def world_of(links: Iterable[Link], cabled: dict[str, LinkModel], shaper: str) -> World:
    """The world as the interfaces and the cable (the links it applies, by tap) tell it."""
    by_name = {link.name: link for link in links}
    ports = {}
    for link in by_name.values():
        port = parse_port_alias(link.name, link.alias)
        if port is not None:
            ports[link.name] = _state(port, by_name, cabled)
    ours = {link.name for link in by_name.values() if link.is_ours}
    bridges = frozenset(name for name in ours if by_name[name].kind == "bridge")
    return World(shaper, bridges, ports, frozenset(by_name) - ours)


def _state(port: Port, links: dict[str, Link], cabled: dict[str, LinkModel]) -> PortState:
    ends = {role: links[name] for role, name in helpers(port.tap).items() if name in links}
    on_bridge = links[port.tap].master == port.bridge
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
    return CABLE if netem.is_beyond(link) else shaper


def plan(world: World, node_id: int, wanted: Sequence[Port], *, live: bool = False) -> list[Action]:
    """What to do so that the node has exactly these ports.

    live: the node may be talking; a port then stays with the back-end it has, since leaving it would lose
    the frames under way; unless what is asked now is beyond that.
    """
    _check_names(world, wanted)
    actions: list[Action] = []
    kept = {port.tap for port in wanted}
    for state in world.of_node(node_id):
        if state.port.tap not in kept:
            actions.append(RemovePort(state.port))
    bridges = set(world.bridges)
    for port in wanted:
        if port.bridge not in bridges:
            bridges.add(port.bridge)
            actions.append(MakeBridge(port.network))
        actions += _plan_port(world, port, live)
    return actions + _empty_bridges(world, node_id, wanted)


def _plan_port(world: World, port: Port, live: bool) -> list[Action]:
    state = world.ports.get(port.tap)
    actions: list[Action] = []
    if state is not None and state.port.network.id != port.network.id:
        actions.append(RemovePort(state.port))
        state = None
    if state is None:
        actions.append(MakePort(port))
    was = state.backend if state else BROKEN
    backend = backend_of(world.shaper, port.link)
    if live and was not in (BROKEN, DIRECT) and (was, backend) != (KERNEL, CABLE):
        backend = was
    if state is None or was != backend or (backend != DIRECT and state.applied != port.applied):
        actions.append(SetLink(port, backend, was))
    if state is None or state.port != port:
        actions.append(LabelPort(port))
    return actions


def _empty_bridges(world: World, node_id: int, wanted: Sequence[Port]) -> list[Action]:
    """Bridges that lose their last port (or have none, after a crash); walt-net stays."""
    others = [state.port for state in world.ports.values() if state.port.node_id != node_id]
    used = {port.bridge for port in (*others, *wanted)} | {bridge_name(WALT_NET_ID)}
    return [RemoveBridge(name) for name in sorted(world.bridges - used)]


def _check_names(world: World, wanted: Sequence[Port]) -> None:
    for port in wanted:
        for name in (port.bridge, port.tap, *helpers(port.tap).values()):
            _check_name(world, name, f"{port.node} on {port.network.name}")


def _check_name(world: World, name: str, purpose: str) -> None:
    if name in world.foreign:
        raise Failed(
            f"the interface name {name}, wanted for {purpose}, is taken by something that is not walt's; "
            "rename or remove that interface"
        )


def plan_walt_net(world: World) -> list[Action]:
    """The platform's own network is there before any node is."""
    walt_net = Network(WALT_NET_ID, bridge_name(WALT_NET_ID), "")
    _check_name(world, walt_net.name, "the network of the platform")
    return [] if walt_net.name in world.bridges else [MakeBridge(walt_net)]


def plan_mend(world: World) -> list[Action]:
    """Ports that pass nothing, because their cable died or a change was cut short, are wired anew."""
    broken = [state.port for state in world.ports.values() if state.backend == BROKEN]
    return [SetLink(port, backend_of(world.shaper, port.link), BROKEN) for port in broken]


def plan_sweep(world: World) -> list[Action]:
    return _empty_bridges(world, -1, ())


def orphans(world: World, links: Iterable[Link]) -> list[str]:
    """What a kill leaves: helper interfaces whose port is gone or that were not finished, what was being made."""
    homes = {helper_alias(tap) for tap in world.ports}
    helpers_here = [link for link in links if link.alias.startswith(f"{OURS}helper ") or link.name == UNFINISHED]
    return [link.name for link in helpers_here if link.alias not in homes]
