"""The world in the words of the contract."""

from services.contracts import netemu
from services.contracts.links import Direction, LinkModel
from services.contracts.netemu import AttachedPort, PortDetached
from services.contracts.nodes import Network
from services.netemu import plan, reports
from services.netemu.firewall import ruleset
from services.netemu.netem import queue_frames
from services.netemu.plan import PortState, World
from services.netemu.ports import Port
from services.netemu.provider import server_address
from services.netemu.traffic import Readings

PORT = Port(1, "vnode1", "alice", 3, Network(5, "home-net", "bob"), LinkModel(Direction(10_000)), 600)
FIRST = Port(1, "vnode1", "alice", 2, Network(0, "walt-net", ""))
WORLD = World(
    netemu.CABLE,
    ports={
        PORT.tap: PortState(PORT, netemu.CABLE, PORT.applied),
        FIRST.tap: PortState(FIRST, netemu.DIRECT, LinkModel()),
    },
)


def test_a_port_is_reported_with_what_was_asked_and_what_is_applied():
    report = reports.ports(Readings(WORLD))[1]
    assert (report.network, report.network_owner, report.backend) == ("home-net", "bob", netemu.CABLE)
    assert (report.asked, report.compensation_us, report.applied.up.latency_us) == (PORT.link, 600, 9_400)


def test_taps_come_in_slot_order():
    assert reports.attached(WORLD, 1) == [AttachedPort(2, "vn1e2"), AttachedPort(3, "vn1e3")]


def test_one_event_for_each_port():
    made = [plan.MakePort(PORT), plan.SetLink(PORT, netemu.CABLE, plan.BROKEN), plan.LabelPort(PORT)]
    assert [name for name, _ in reports.events(WORLD, made)] == [netemu.PORT_ATTACHED]
    assert [name for name, _ in reports.events(WORLD, made[1:])] == [netemu.PORT_SHAPED]
    gone = Port(9, "x", "", 2, Network(0, "walt-net", ""))
    assert list(reports.events(WORLD, [plan.RemovePort(gone)])) == [(netemu.PORT_DETACHED, PortDetached(9, 2))]


def test_netem_has_room_for_all_that_is_only_delayed():
    assert queue_frames(Direction(latency_us=100_000)) >= 10_000_000_000 // 10 // (1514 * 8)
    assert queue_frames(Direction(100_000, 1_000_000_000)) >= 100_000_000 // (64 * 8)
    assert 70 <= queue_frames(Direction(0, 8_000_000)) <= 200


def test_the_server_has_the_first_address():
    assert server_address("192.168.172.0/22") == "192.168.172.1/22"


def test_the_broker_is_not_among_the_ports_that_nodes_reach():
    rules = ruleset()
    assert "5672" not in rules and "2049" in rules and 'iifname != "walt-net" accept' in rules
