"""Faults of the original's networks (reference/upstream-behaviour.md, section 10) that are not ours.

With real frames the same is shown by the suite of links: delay, rate_up, rate_down, isolation, live_change, cleanup, …
That errors reach the caller and leave nothing behind (fault 15) is in test_emulation.py.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.netemu.cable.model import Wire
from services.netemu.latency import compensation
from services.netemu.ports import plan
from services.netemu.ports.netem import options, queue_frames
from services.netemu.ports.plan import PortState, Snapshot
from services.netemu.ports.port import Port, bridge_name, helpers
from walt.contracts.errors import Failed
from walt.contracts.links import Direction, LinkModel, parse_options
from walt.contracts.names import is_network_name
from walt.contracts.netemu import CABLE, DIRECT, KERNEL
from walt.contracts.nodes import Network

MS = 1_000_000
KERNEL_NAME_BYTES = 15
HOME = Network(5, "home-net", "alice")
LINK = parse_options(LinkModel(), ["lat=10ms", "bw=8Mbps"])
PORT = Port(1, "vnode1", "alice", 3, HOME, LINK)


def test_fault_15_both_directions_are_shaped():
    assert LINK.up.rate_bps == LINK.down.rate_bps == 8_000_000
    assert parse_options(LinkModel(), ["lat.down=5ms"]).down.latency_us == 5000


def test_fault_15_a_small_transfer_sees_the_rate():
    wire = Wire(LINK.down)
    assert [wire.admit(0, 1000) for _ in range(3)] == [1 * MS, 2 * MS, 3 * MS]


def test_fault_15_what_the_platform_adds_is_measured_and_not_a_constant():
    shares = []
    for rtt_us in (250, 700):
        share = compensation.Share(1, "192.168.172.2", due_s=0)
        for _ in range(2):
            share = compensation.observe(share, [rtt_us] * 10, 0, 0)
        shares.append(share.share_us)
    assert shares == [250, 700]
    assert replace(PORT, compensation_us=250).applied.up.latency_us == 9_750


def test_fault_15_loss_and_jitter_are_there_on_both_backends():
    direction = parse_options(LinkModel(), ["lat=10ms", "jitter=2ms", "loss=1%"]).up
    assert Wire(direction).impairments is not None
    assert options(direction)["loss"] > 0 and dict(options(direction)["attrs"])["TCA_NETEM_JITTER64"] == 2 * MS


def test_fault_15_no_frame_is_lost_for_want_of_room_that_nobody_limited():
    second_of_gigabit = Direction(1_000_000, 1_000_000_000)
    frames = 1_000_000_000 // 8 // 1514
    assert queue_frames(second_of_gigabit) > frames > 1000, "netem's own default is 1000"
    wire = Wire(second_of_gigabit)
    assert all(wire.admit(0, 1514) is not None for _ in range(frames))


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(2, 31))
def test_fault_16_names_of_networks_may_be_long_and_have_digits(network_id, node_id, slot):
    name = "lab-2_of-the-3rd-floor-and-longer"[:32]
    port = Port(node_id, "vnode1", "alice", slot, Network(network_id, name, "alice"))
    assert is_network_name(name)
    assert all(len(one) <= KERNEL_NAME_BYTES for one in (port.bridge, port.tap, *helpers(port.tap).values()))


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_fault_16_networks_of_different_owners_never_meet_whatever_their_names(one, other):
    """A network is its number, which nodes gives to one owner's name only; the name is a label."""
    assert (bridge_name(one) == bridge_name(other)) == (one == other)
    assert bridge_name(one) != bridge_name(0) == "walt-net"


@pytest.mark.parametrize("name", ["eth0", "lo", "docker0", "walt-net", "net5", "vn1e2"])
def test_fault_16_a_network_named_like_an_interface_of_the_host_takes_nothing_over(name):
    snapshot = Snapshot(KERNEL, frozenset({"walt-net"}), {}, frozenset({"eth0", "lo", "docker0"}))
    mine = replace(PORT, network=Network(9, name, "alice"))
    made = plan.plan(snapshot, 1, [mine])
    assert plan.MakeBridge(mine.network) in made and mine.bridge == "net9"


def test_fault_16_an_interface_of_the_host_is_refused_by_name_before_anything_changes():
    snapshot = Snapshot(KERNEL, frozenset({"walt-net"}), {}, frozenset({"net5"}))
    with pytest.raises(Failed, match="the interface name net5, wanted for vnode1 on home-net"):
        plan.plan(snapshot, 1, [PORT])


def test_fault_16_a_bridge_goes_with_its_last_port_also_after_a_crash():
    snapshot = Snapshot(KERNEL, frozenset({"walt-net", "net5"}), {PORT.tap: PortState(PORT, KERNEL, PORT.applied)})
    assert plan.plan(snapshot, 1, [])[-1] == plan.RemoveBridge("net5")
    assert plan.plan_empty_bridges(replace(snapshot, ports={})) == [plan.RemoveBridge("net5")]


@pytest.mark.parametrize("backend", [KERNEL, CABLE])
def test_fault_17_a_link_changes_live_and_nothing_else_of_it(backend):
    snapshot = Snapshot(backend, frozenset({"walt-net", "net5"}), {PORT.tap: PortState(PORT, backend, PORT.applied)})
    slower = replace(PORT, link=parse_options(PORT.link, ["lat=20ms"]))
    assert slower.link.up == Direction(20_000, 8_000_000)
    assert plan.plan(snapshot, 1, [slower], live=True) == [
        plan.SetLink(slower, backend, backend),
        plan.LabelPort(slower),
    ]


def test_fault_17_a_plain_port_is_shaped_live():
    plain = replace(PORT, link=LinkModel())
    snapshot = Snapshot(CABLE, frozenset({"walt-net", "net5"}), {PORT.tap: PortState(plain, DIRECT, LinkModel())})
    assert plan.SetLink(PORT, CABLE, DIRECT) in plan.plan(snapshot, 1, [PORT], live=True)
