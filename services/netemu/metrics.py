"""Prometheus: the ports as they are at the moment of the scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.netemu.emulation import Emulation
from services.netemu.ports import traffic
from services.netemu.ports.plan import BROKEN, PortState
from services.netemu.ports.port import bridge_name
from services.netemu.ports.traffic import CableState, Counters, Readings
from services.netemu.ports.tunnel import vxlan_name
from walt.contracts.errors import Failed
from walt.contracts.links import SIDES
from walt.contracts.netemu import CABLE, DIRECT, KERNEL
from walt.contracts.nodes import WALT_NET_ID

PORT = ["node", "network", "slot"]
BY_WAY = [*PORT, "direction"]


class PortCollector(Collector):
    """dropped(): by node, what the filter of walt-net has dropped; spanned(): ids of the networks with a tunnel."""

    def __init__(
        self,
        emulation: Emulation,
        dropped: Callable[[], Mapping[int, int]],
        spanned: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        self._emulation = emulation
        self._dropped = dropped
        self._spanned = spanned

    def collect(self) -> Iterable[Metric]:
        answers = GaugeMetricFamily("walt_cable_answers", "0 while the cable runs and does not answer")
        try:
            readings = self._emulation.readings()
        except Failed:  # what is told beside the ports, is
            answers.add_metric([], 0)
            yield answers
            return
        answers.add_metric([], 1)
        yield answers
        yield from _backends(readings, self._emulation.shaper)
        yield from _delays(readings)
        yield from _rates(readings)
        yield from _traffic(readings)
        yield _refused(readings, self._dropped())
        yield from _tunnels(readings, self._spanned())

    def describe(self) -> Iterable[Metric]:
        return []  # so that registering needs no root and no namespace


def _labels(state: PortState) -> list[str]:
    return [state.port.node, state.port.network.name, str(state.port.slot)]


def _backends(readings: Readings, shaper: str) -> Iterator[Metric]:
    count = Counter(state.backend for state in readings.snapshot.ports.values())
    ports = GaugeMetricFamily("walt_ports", "Ports, by the back-end that carries them", labels=["backend"])
    for backend in (DIRECT, KERNEL, CABLE, BROKEN):
        ports.add_metric([backend], count[backend])
    yield ports
    used = GaugeMetricFamily("walt_link_backend", "1 for the back-end of shaped ports on this host", labels=["backend"])
    for backend in (KERNEL, CABLE):
        used.add_metric([backend], int(backend == shaper))
    yield used
    if readings.cable is not None:
        realtime = int(readings.cable.realtime)
        yield GaugeMetricFamily("walt_cable_realtime", "1 when the cable has real-time priority", value=realtime)
        seconds = readings.cable.overhead_us / 1e6
        yield GaugeMetricFamily(
            "walt_cable_overhead_seconds", "Mean cost per frame, which the cable takes off its delays", value=seconds
        )
        yield from _shares(readings.cable)


def _shares(cable: CableState) -> Iterator[Metric]:
    lost = CounterMetricFamily(
        "walt_cable_owner_dropped_frames",
        "Frames lost since their owner's share of the cable's memory was used up",
        labels=["owner"],
    )
    held = CounterMetricFamily(
        "walt_cable_owner_held_seconds",
        "How long frames waited since their owner's share of the cable's time was used up",
        labels=["owner"],
    )
    for owner, share in cable.shares.items():
        lost.add_metric([owner], share.dropped)
        held.add_metric([owner], share.held_s)
    yield from (lost, held)


def _delays(readings: Readings) -> Iterator[Metric]:
    requested = GaugeMetricFamily("walt_port_asked_latency_seconds", "Requested outgoing delay", labels=PORT)
    applied = GaugeMetricFamily("walt_port_applied_latency_seconds", "Outgoing delay applied", labels=PORT)
    share = GaugeMetricFamily(
        "walt_port_compensation_seconds", "Delay that the platform itself adds, measured", labels=PORT
    )
    jitter = GaugeMetricFamily("walt_port_asked_jitter_seconds", "How far the requested delay may vary", labels=PORT)
    measured = GaugeMetricFamily(
        "walt_port_measured_latency_seconds",
        "Mean outgoing delay that the last frames had from when the cable took them, waiting for the rate and what the "
        "platform adds included",
        labels=PORT,
    )
    for state in readings.snapshot.ports.values():
        requested.add_metric(_labels(state), state.port.link.up.latency_us / 1e6)
        applied.add_metric(_labels(state), max(0, state.applied.up.latency_us) / 1e6)
        share.add_metric(_labels(state), state.port.compensation_us / 1e6)
        jitter.add_metric(_labels(state), state.port.link.up.jitter_us / 1e6)
        measured_us = traffic.measured_latency_us(readings, state)
        if measured_us is not None:
            measured.add_metric(_labels(state), measured_us / 1e6)
    yield from (requested, applied, share, jitter, measured)


def _rates(readings: Readings) -> Iterator[Metric]:
    rates = GaugeMetricFamily(
        "walt_port_asked_rate_bytes_per_second", "Requested rate, where there is one", labels=BY_WAY
    )
    for state in readings.snapshot.ports.values():
        for direction in SIDES:
            rate_bps = getattr(state.port.link, direction).rate_bps
            if rate_bps:
                rates.add_metric([*_labels(state), direction], rate_bps / 8)
    yield rates


def _traffic(readings: Readings) -> Iterator[Metric]:
    size = CounterMetricFamily("walt_port_bytes", "Bytes of the node: up it sent, down it received", labels=BY_WAY)
    frames = CounterMetricFamily("walt_port_frames", "Frames of the node: up it sent, down it received", labels=BY_WAY)
    drops = CounterMetricFamily("walt_port_drops", "Frames dropped on the port, requested loss included", labels=BY_WAY)
    late = CounterMetricFamily(
        "walt_port_late_frames",
        "Frames that the cable sent more than 1 ms after they were due, as counted from when it took them",
        labels=BY_WAY,
    )
    for state in readings.snapshot.ports.values():
        for direction, one in zip(SIDES, traffic.of_port(readings, state), strict=True):
            values = (one.bytes, one.frames, one.dropped, one.late)
            for family, value in zip((size, frames, drops, late), values, strict=True):
                family.add_metric([*_labels(state), direction], value)
    yield from (size, frames, drops, late)


def _refused(readings: Readings, dropped: Mapping[int, int]) -> Metric:
    family = CounterMetricFamily(
        "walt_port_refused_frames", "Frames that the node may not send on walt-net, and that were left out", labels=PORT
    )
    for state in readings.snapshot.ports.values():
        if state.port.network.id == WALT_NET_ID:
            family.add_metric(_labels(state), traffic.refused(state, dropped))
    return family


def _tunnels(readings: Readings, spanned: Sequence[int]) -> Iterator[Metric]:
    yield GaugeMetricFamily("walt_tunnels", "Networks of this host that reach other hosts", value=len(spanned))
    labels = ["bridge", "direction"]
    size = CounterMetricFamily(
        "walt_tunnel_bytes", "Bytes of a network between hosts: out to each of them, in from them", labels=labels
    )
    frames = CounterMetricFamily(
        "walt_tunnel_frames", "Frames of a network between hosts: out to each of them, in from them", labels=labels
    )
    for network_id in spanned:
        one = readings.interfaces.get(vxlan_name(network_id), Counters())
        for direction, bytes_, count in (("out", one.tx_bytes, one.tx_frames), ("in", one.rx_bytes, one.rx_frames)):
            size.add_metric([bridge_name(network_id), direction], bytes_)
            frames.add_metric([bridge_name(network_id), direction], count)
    yield from (size, frames)
