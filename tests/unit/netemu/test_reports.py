"""Ports as the contract reports them."""

from services.netemu.filters.input_filter import ruleset
from services.netemu.ports import reports
from services.netemu.ports.netem import queue_frames
from services.netemu.ports.plan import PortState, Snapshot
from services.netemu.ports.port import Port
from services.netemu.ports.traffic import Readings
from walt.contracts import netemu
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import AttachedPort
from walt.contracts.nodes import Interface, Network

PORT = Port(1, "vnode1", "alice", 3, Network(5, "home-net", "bob"), LinkModel(Direction(10_000)), 600)
FIRST = Port(1, "vnode1", "alice", 2, Network(0, "walt-net", ""))
SNAPSHOT = Snapshot(
    netemu.CABLE,
    ports={
        PORT.tap: PortState(PORT, netemu.CABLE, PORT.applied),
        FIRST.tap: PortState(FIRST, netemu.DIRECT, LinkModel()),
    },
)


def test_a_port_is_reported_with_what_was_requested_and_what_is_applied():
    report = reports.ports(Readings(SNAPSHOT), {})[1]
    assert (report.network, report.network_owner, report.backend) == ("home-net", "bob", netemu.CABLE)
    assert (report.requested, report.compensation_us, report.applied.up.latency_us) == (PORT.link, 600, 9_400)


def test_what_the_filter_of_walt_net_drops_is_of_the_port_there():
    assert [report.refused for report in reports.ports(Readings(SNAPSHOT), {1: 7, 2: 9})] == [7, 0]
    assert [report.refused for report in reports.ports(Readings(SNAPSHOT), {})] == [0, 0]


def test_taps_come_in_slot_order():
    interfaces = [Interface(3, "", PORT.network), Interface(2, "", FIRST.network)]
    assert reports.attached(1, interfaces) == [AttachedPort(2, "vn1e2"), AttachedPort(3, "vn1e3")]


def test_netem_has_room_for_all_that_is_only_delayed():
    assert queue_frames(Direction(latency_us=100_000)) >= 10_000_000_000 // 10 // (1514 * 8)
    assert queue_frames(Direction(100_000, 1_000_000_000)) >= 100_000_000 // (64 * 8)
    assert 70 <= queue_frames(Direction(0, 8_000_000)) <= 200


def test_the_broker_is_not_among_the_ports_that_nodes_reach():
    rules = ruleset("192.168.172.0/22")
    assert "5672" not in rules and "2049" not in rules and 'iifname != "walt-net" accept' in rules
