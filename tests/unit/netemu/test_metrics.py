"""What a scrape of netemu tells of a port."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from services.netemu.metrics import PortCollector
from services.netemu.ports.plan import PortState, Snapshot
from services.netemu.ports.traffic import Counters
from tests.unit.netemu.test_traffic import CABLED, PORT, readings
from walt.contracts.errors import Failed
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CABLE, KERNEL

LABELS = {"node": "vnode1", "network": "home-net", "slot": "3"}


def told(found):
    registry = CollectorRegistry()
    registry.register(PortCollector(SimpleNamespace(readings=lambda: found, shaper=CABLE)))
    return lambda name, **more: registry.get_sample_value(f"walt_port_{name}", {**LABELS, **more})


def test_asked_applied_and_measured_delay_in_seconds():
    value = told(readings(CABLE, cable=CABLED))
    names = ("asked", "applied", "measured")
    assert [value(f"{name}_latency_seconds") for name in names] == pytest.approx([0.010, 0.0094, 0.0101])
    assert value("compensation_seconds") == pytest.approx(0.0006)
    assert value("late_frames_total", direction="up") == 1


def test_what_is_not_measured_or_not_asked_is_not_told():
    value = told(readings(KERNEL, cable=CABLED))
    assert value("measured_latency_seconds") is None
    assert value("asked_rate_bytes_per_second", direction="up") is None


def test_rate_and_jitter_asked():
    port = replace(PORT, link=LinkModel(Direction(10_000, jitter_us=2_000, rate_bps=8_000_000)))
    state = PortState(port, CABLE, port.applied)
    value = told(replace(readings(CABLE, cable=CABLED), snapshot=Snapshot(CABLE, ports={port.tap: state})))
    assert value("asked_rate_bytes_per_second", direction="up") == 1_000_000
    assert value("asked_rate_bytes_per_second", direction="down") is None
    assert value("asked_jitter_seconds") == pytest.approx(0.002)


def test_what_passes_between_hosts():
    counted = {"vx5": Counters(rx_bytes=10, rx_frames=1, tx_bytes=60, tx_frames=3)}
    found = replace(readings(CABLE, cable=CABLED), interfaces=counted)
    registry = CollectorRegistry()
    registry.register(PortCollector(SimpleNamespace(readings=lambda: found, shaper=CABLE), lambda: [0, 5]))
    assert registry.get_sample_value("walt_tunnels") == 2
    labels = {"bridge": "net5", "direction": "out"}
    assert registry.get_sample_value("walt_tunnel_bytes_total", labels) == 60
    assert registry.get_sample_value("walt_tunnel_frames_total", labels) == 3
    assert registry.get_sample_value("walt_tunnel_frames_total", {**labels, "direction": "in"}) == 1


def test_fault_s13_a_cable_that_does_not_answer_ends_no_scrape():
    def fail():
        raise Failed("the cable does not answer (timed out)")

    registry = CollectorRegistry()
    registry.register(PortCollector(SimpleNamespace(readings=fail, shaper=CABLE)))
    assert registry.get_sample_value("walt_cable_answers") == 0
