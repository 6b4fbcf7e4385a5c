"""Pure: ports as the contract reports them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.netemu.ports import traffic
from services.netemu.ports.plan import PortState
from services.netemu.ports.port import tap_name
from services.netemu.ports.traffic import Readings
from walt.contracts.links import LinkModel
from walt.contracts.netemu import AttachedPort, PortReport
from walt.contracts.nodes import Interface


def ports(readings: Readings, refused: Mapping[int, int]) -> list[PortReport]:
    """By node and slot. refused: by node, what the filter of walt-net has dropped."""
    states = sorted(readings.snapshot.ports.values(), key=lambda state: (state.port.node_id, state.port.slot))
    return [_report(readings, state, refused) for state in states]


def attached(node_id: int, interfaces: Iterable[Interface]) -> list[AttachedPort]:
    """By slot."""
    return [AttachedPort(slot, tap_name(node_id, slot)) for slot in sorted(one.slot for one in interfaces)]


def _report(readings: Readings, state: PortState, refused: Mapping[int, int]) -> PortReport:
    port = state.port
    up, down = traffic.of_port(readings, state)
    return PortReport(
        node_id=port.node_id,
        node=port.node,
        owner=port.owner,
        network=port.network.name,
        network_owner=port.network.owner,
        slot=port.slot,
        tap=port.tap,
        backend=state.backend,
        requested=port.link,
        compensation_us=port.compensation_us,
        applied=_shown(state.applied),
        measured_latency_us=traffic.measured_latency_us(readings, state),
        up=up,
        down=down,
        refused=traffic.refused(state, refused),
    )


def _shown(applied: LinkModel) -> LinkModel:
    """Without the share of the platform that is taken off the delays of a trace."""
    return replace(applied, up=replace(applied.up, latency_us=max(0, applied.up.latency_us)))
