"""What has passed a port, from the counters along its way."""

from dataclasses import replace

from services.netemu.ports import reports, traffic
from services.netemu.ports.plan import PortState, Snapshot
from services.netemu.ports.port import Port
from services.netemu.ports.traffic import CableState, Counters, Readings
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CABLE, DIRECT, KERNEL, Traffic
from walt.contracts.nodes import Network

PORT = Port(1, "vnode1", "alice", 3, Network(5, "home-net", "bob"), LinkModel(Direction(10_000)), 600)
TAP = Counters(rx_bytes=1000, rx_frames=10, rx_drops=1, tx_bytes=2000, tx_frames=20, tx_drops=2)
CABLED = CableState(
    1, True, 50.0, {}, {"vn1e3": Traffic(9, 900, 3, 1)}, {"vn1e3": Traffic(19, 1900, 4)}, {"vn1e3": 9500}
)


def state(backend):
    return PortState(PORT, backend, PORT.applied)


def readings(backend, interfaces=None, queues=None, cable=None):
    snapshot = Snapshot(KERNEL, ports={PORT.tap: state(backend)})
    return Readings(snapshot, {"vn1e3": TAP, **(interfaces or {})}, queues or {}, cable)


def test_of_a_direct_port_the_interface_tells():
    found = traffic.of_port(readings(DIRECT), state(DIRECT))
    assert found == (Traffic(10, 1000, 1), Traffic(20, 2000, 2))


def test_of_the_kernels_the_queues_tell():
    queues = {"ib1e3": Traffic(8, 800, 5), "vn1e3": Traffic(7, 700, 6)}
    found = traffic.of_port(readings(KERNEL, queues=queues), state(KERNEL))
    assert found == (Traffic(8, 800, 6), Traffic(7, 700, 8))


def test_of_the_cables_the_cable_tells_and_each_end_counts_for_its_direction():
    ends = {"cn1e3": Counters(rx_drops=10, tx_drops=20), "cb1e3": Counters(rx_drops=100, tx_drops=200)}
    up, down = traffic.of_port(readings(CABLE, ends, cable=CABLED), state(CABLE))
    assert up == Traffic(9, 900, 3 + 1 + 20 + 100, 1)
    assert down == Traffic(19, 1900, 4 + 2 + 200 + 10)


def test_the_measured_latency_has_the_platforms_share_in_it():
    assert traffic.measured_latency_us(readings(CABLE, cable=CABLED), state(CABLE)) == 10_100
    assert traffic.measured_latency_us(readings(CABLE, cable=replace(CABLED, delay_us={})), state(CABLE)) is None
    assert traffic.measured_latency_us(readings(KERNEL, cable=CABLED), state(KERNEL)) is None


def test_a_report_carries_all_of_it():
    (report,) = reports.ports(readings(CABLE, cable=CABLED), {})
    assert (report.measured_latency_us, report.up.late, report.down.frames) == (10_100, 1, 19)
    assert report.applied.up.latency_us == 9_400
