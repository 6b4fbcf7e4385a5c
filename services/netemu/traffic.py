"""Pure: what has passed each direction of a port, from the counters along its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from services.contracts.links import LinkModel
from services.contracts.netemu import CABLE, KERNEL, Traffic
from services.netemu.plan import PortState, World
from services.netemu.ports import helpers


@dataclass(frozen=True)
class Counters:
    """Of one interface, seen from the host: received is what the node sent."""

    rx_bytes: int = 0
    rx_frames: int = 0
    rx_drops: int = 0
    tx_bytes: int = 0
    tx_frames: int = 0
    tx_drops: int = 0


@dataclass(frozen=True)
class CableState:
    """What the cable process tells. links, up, down: by tap of the port; delay_us: the mean that frames of the node had
    lately, where there were any; started_ns: by the host's monotonic clock, since as the only process of a container it
    has the same pid every time."""

    pid: int
    realtime: bool
    overhead_us: float
    links: dict[str, LinkModel]
    up: dict[str, Traffic]
    down: dict[str, Traffic]
    delay_us: dict[str, int]
    started_ns: int = 0


@dataclass(frozen=True)
class Readings:
    """The world and all that is counted in it. interfaces, queues (netem's): by name of the interface."""

    world: World
    interfaces: Mapping[str, Counters] = field(default_factory=dict)
    queues: Mapping[str, Traffic] = field(default_factory=dict)
    cable: CableState | None = None


def of_port(readings: Readings, state: PortState) -> tuple[Traffic, Traffic]:
    """(up, down)"""
    tap, ends = state.port.tap, helpers(state.port.tap)
    cable, count = readings.cable, readings.interfaces.get
    at_node = count(tap, Counters())
    if state.backend == CABLE and cable is not None and tap in cable.up:
        node_end, bridge_end = count(ends["node_end"], Counters()), count(ends["bridge_end"], Counters())
        return (
            _also_dropped(cable.up[tap], (at_node.rx_drops, node_end.tx_drops, bridge_end.rx_drops)),
            _also_dropped(cable.down[tap], (bridge_end.tx_drops, node_end.rx_drops, at_node.tx_drops)),
        )
    if state.backend == KERNEL:
        return (
            _also_dropped(readings.queues.get(ends["ifb"], Traffic()), (at_node.rx_drops,)),
            _also_dropped(readings.queues.get(tap, Traffic()), (at_node.tx_drops,)),
        )
    return (
        Traffic(at_node.rx_frames, at_node.rx_bytes, at_node.rx_drops),
        Traffic(at_node.tx_frames, at_node.tx_bytes, at_node.tx_drops),
    )


def measured_latency_us(readings: Readings, state: PortState) -> int | None:
    """The mean that frames of the node had on their way out lately, with what the platform itself adds."""
    if state.backend != CABLE or readings.cable is None:
        return None
    delay_us = readings.cable.delay_us.get(state.port.tap)
    return None if delay_us is None else delay_us + state.port.compensation_us


def _also_dropped(traffic: Traffic, elsewhere: Iterable[int]) -> Traffic:
    return replace(traffic, dropped=traffic.dropped + sum(elsewhere))
