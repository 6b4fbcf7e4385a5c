"""Pure: the world and what was done to it, in the words of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from services.contracts import netemu
from services.contracts.netemu import AttachedPort, PortDetached, PortReport
from services.netemu import plan, traffic
from services.netemu.plan import Action, PortState, World
from services.netemu.traffic import Readings


def ports(readings: Readings) -> list[PortReport]:
    return [_with_traffic(readings, state) for state in _sorted(readings.world.ports.values())]


def attached(world: World, node_id: int) -> list[AttachedPort]:
    return [AttachedPort(state.port.slot, state.port.tap) for state in _sorted(world.of_node(node_id))]


def events(world: World, done: Iterable[Action]) -> Iterator[tuple[str, PortReport | PortDetached]]:
    """One event for each port that was made or removed, one for each that was shaped only; without the traffic."""
    made: set[str] = set()
    for action in done:
        match action:
            case plan.RemovePort(port):
                yield netemu.PORT_DETACHED, PortDetached(port.node_id, port.slot)
            case plan.MakePort(port) if port.tap in world.ports:
                made.add(port.tap)
                yield netemu.PORT_ATTACHED, _report(world.ports[port.tap])
            case plan.SetLink(port) if port.tap in world.ports and port.tap not in made:
                yield netemu.PORT_SHAPED, _report(world.ports[port.tap])


def _sorted(states: Iterable[PortState]) -> list[PortState]:
    return sorted(states, key=lambda state: (state.port.node_id, state.port.slot))


def _with_traffic(readings: Readings, state: PortState) -> PortReport:
    up, down = traffic.of_port(readings, state)
    measured_us = traffic.measured_latency_us(readings, state)
    return replace(_report(state), up=up, down=down, measured_latency_us=measured_us)


def _report(state: PortState) -> PortReport:
    port = state.port
    return PortReport(
        node_id=port.node_id,
        node=port.node,
        owner=port.owner,
        network=port.network.name,
        network_owner=port.network.owner,
        slot=port.slot,
        tap=port.tap,
        backend=state.backend,
        asked=port.link,
        compensation_us=port.compensation_us,
        applied=state.applied,
    )
