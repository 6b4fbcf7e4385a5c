"""Pure: what has passed each direction of a port, from the counters along its path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from services.netemu.ports.plan import PortState, Snapshot
from services.netemu.ports.port import helpers
from walt.contracts.links import LinkModel
from walt.contracts.netemu import CABLE, KERNEL, Traffic
from walt.contracts.nodes import WALT_NET_ID


@dataclass(frozen=True)
class Counters:
    """Of one interface, as the host counts: rx is what the node sent."""

    rx_bytes: int = 0
    rx_frames: int = 0
    rx_drops: int = 0
    tx_bytes: int = 0
    tx_frames: int = 0
    tx_drops: int = 0


@dataclass(frozen=True)
class CableShare:
    """What the links of one owner have used of the cable. dropped: frames for which his share of the memory had no
    room; held_s: how long his frames waited for his share of the processor; limited_ago_s: since when neither was so,
    None: it never was."""

    owner: str
    queued_bytes: int
    dropped: int
    held_s: float
    limited_ago_s: float | None


@dataclass(frozen=True)
class CableState:
    """What the cable process reports. links, up, down: by tap of the port; delay_us: the mean delay of the last frames
    from the node, where there were any; started_ns: when it started, by the monotonic clock of the host: that tells two
    cables apart, while in a container each has the same pid; compiled: its loop is machine code."""

    pid: int
    realtime: bool
    overhead_us: float
    links: dict[str, LinkModel]
    up: dict[str, Traffic]
    down: dict[str, Traffic]
    delay_us: dict[str, int]
    started_ns: int = 0
    shares: dict[str, CableShare] = field(default_factory=dict)
    compiled: bool = False


@dataclass(frozen=True)
class Readings:
    """A snapshot with all counters. interfaces, queues (netem's): by name of the interface."""

    snapshot: Snapshot
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
            _with_drops(cable.up[tap], (at_node.rx_drops, node_end.tx_drops, bridge_end.rx_drops)),
            _with_drops(cable.down[tap], (bridge_end.tx_drops, node_end.rx_drops, at_node.tx_drops)),
        )
    if state.backend == KERNEL:
        return (
            _with_drops(readings.queues.get(ends["ifb"], Traffic()), (at_node.rx_drops,)),
            _with_drops(readings.queues.get(tap, Traffic()), (at_node.tx_drops,)),
        )
    return (
        Traffic(at_node.rx_frames, at_node.rx_bytes, at_node.rx_drops),
        Traffic(at_node.tx_frames, at_node.tx_bytes, at_node.tx_drops),
    )


def refused(state: PortState, dropped: Mapping[int, int]) -> int:
    """Of what the filter of walt-net has dropped, by node: what came from this port."""
    return dropped.get(state.port.node_id, 0) if state.port.network.id == WALT_NET_ID else 0


def measured_latency_us(readings: Readings, state: PortState) -> int | None:
    """The mean delay of the last frames that the node sent, with what the platform itself adds; None: not measured."""
    if state.backend != CABLE or readings.cable is None:
        return None
    delay_us = readings.cable.delay_us.get(state.port.tap)
    return None if delay_us is None else delay_us + state.port.compensation_us


def _with_drops(traffic: Traffic, elsewhere: Iterable[int]) -> Traffic:
    return replace(traffic, dropped=traffic.dropped + sum(elsewhere))
