"""What is done to the interfaces, and what happens when the kernel refuses, on a kernel in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.netemu.emulation import Emulation
from services.netemu.kernel.netlink import WALT_NET_PORT_GROUP
from services.netemu.ports.plan import KernelInterface
from services.netemu.ports.port import Port, network_alias, port_alias
from tests.links.rig import spec
from tests.unit.netemu.fake_netlink import FakeNetlink, IdleCable
from walt.contracts.errors import Failed
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import DIRECT, KERNEL
from walt.contracts.nodes import Interface, Network

HOME = Network(5, "home-net", "alice")
OTHERS = Network(7, "lab-net", "alice")
WALT_NET = Network(0, "walt-net", "")
SLOW, SLOWER = LinkModel(Direction(10_000)), LinkModel(Direction(20_000))


def emulation_of(folder: Path, *interfaces: KernelInterface) -> Emulation:
    emulation = Emulation(folder, "192.168.172.1/22")
    emulation.netlink = FakeNetlink(KernelInterface("walt-net", "bridge", network_alias(WALT_NET), ""), *interfaces)
    emulation.cable = IdleCable()
    return emulation


@pytest.fixture
def emulation(tmp_path: Path):
    """With two ports that are in no bridge: they pass no frame."""
    ports = [Port(number, f"vnode{number}", "alice", 3, HOME, SLOW) for number in (1, 2)]
    taps = [KernelInterface(port.tap, "tun", port_alias(port), "") for port in ports]
    return emulation_of(tmp_path, KernelInterface("net5", "bridge", network_alias(HOME), ""), *taps)


def node(number: int, link: LinkModel):
    return spec(number, [Interface(3, "", HOME, link)])


def test_a_port_that_cannot_be_repaired_keeps_no_other_from_it(emulation, caplog):
    emulation.netlink.unshapable = {"vn1e3"}
    assert [action.port.node_id for action in emulation.repair()] == [2]
    assert emulation.repair() == []
    assert caplog.text.count("vn1e3 cannot be shaped") == 1, "it is said once"
    emulation.netlink.unshapable = set()
    assert [action.port.node_id for action in emulation.repair()] == [1]
    assert {state.backend for state in emulation.snapshot().ports.values()} == {KERNEL}


def test_a_change_that_fails_is_repaired_at_the_next_poll(emulation):
    emulation.repair()
    emulation.netlink.unshapable = {"vn1e3"}
    with pytest.raises(Failed, match="vn1e3"):
        emulation.update_links(node(1, SLOWER))
    emulation.netlink.remove("ib1e3")
    emulation.netlink.set_bridge("vn1e3", "")
    emulation.netlink.unshapable = set()
    assert [action.port.node_id for action in emulation.repair()] == [1]


def test_many_nodes_are_planned_against_one_reading_of_the_interfaces(emulation):
    emulation.repair()
    emulation.update_all_links([node(1, SLOW), node(2, SLOW)])
    emulation.netlink.dumps = 0
    assert emulation.update_all_links([node(1, SLOW), node(2, SLOW)]) == {}
    assert emulation.netlink.dumps == 1


def test_a_carrier_is_not_its_business(emulation):
    emulation.repair()
    emulation.update_links(node(1, SLOW))
    assert emulation.update_links(node(1, replace(SLOW, no_carrier=True))) == []
    emulation.attach(3, "vnode3", "alice", [Interface(3, "", HOME, LinkModel(no_carrier=True))])
    assert emulation.snapshot().ports["vn3e3"].backend == DIRECT


def test_a_node_whose_links_cannot_be_set_keeps_no_other_from_it(emulation):
    emulation.repair()
    emulation.netlink.unshapable = {"vn1e3"}
    assert emulation.update_all_links([node(1, SLOWER), node(2, SLOWER)]) == {1: "vn1e3 cannot be shaped"}
    assert emulation.snapshot().ports["vn2e3"].port.link == SLOWER


def test_fault_15_errors_reach_the_caller_and_leave_nothing_behind(tmp_path):
    emulation = emulation_of(tmp_path)
    emulation.netlink.unshapable = {"vn1e3"}
    with pytest.raises(Failed, match="vn1e3 cannot be shaped"):
        emulation.attach(1, "vnode1", "alice", [Interface(3, "", HOME, SLOW)])
    assert set(emulation.netlink.by_name) == {"walt-net"}


def test_ports_of_walt_net_made_by_an_older_version_join_the_group_that_is_guarded(tmp_path):
    port = Port(1, "vnode1", "alice", 2, WALT_NET)
    tap = KernelInterface(port.tap, "tun", port_alias(port), "walt-net", group=8787)
    others = (
        KernelInterface("eth1", "veth", "", "walt-net"),
        KernelInterface("vn1e3", "tun", tap.alias, "net5", group=8787),
    )
    emulation = emulation_of(tmp_path, tap, *others)
    emulation.group_walt_net_ports()
    assert {one.name: one.group for one in emulation.netlink.interfaces()} == {
        "walt-net": 0,
        port.tap: WALT_NET_PORT_GROUP,
        "eth1": 0,
        "vn1e3": 8787,
    }


def test_networks_of_users_made_by_an_older_version_forward_group_addresses(tmp_path):
    alias = port_alias(Port(1, "vnode1", "alice", 3, HOME))
    emulation = emulation_of(
        tmp_path,
        KernelInterface("net5", "bridge", network_alias(HOME), ""),
        KernelInterface("vn1e3", "tun", alias, "net5"),
        KernelInterface("vn1e2", "tun", port_alias(Port(1, "vnode1", "alice", 2, WALT_NET)), "walt-net"),
        KernelInterface("eth1", "veth", "", "net5"),
        KernelInterface("br0", "bridge", "", ""),
    )
    emulation.forward_group_addresses()
    assert {one.name for one in emulation.netlink.interfaces() if one.forwards_group_addresses} == {"net5", "vn1e3"}


def test_bridges_made_by_an_older_version_learn_few_addresses(tmp_path):
    emulation = emulation_of(
        tmp_path,
        KernelInterface("net5", "bridge", network_alias(HOME), ""),
        KernelInterface("br0", "bridge", "", ""),
        KernelInterface("vn1e3", "tun", port_alias(Port(1, "vnode1", "alice", 3, HOME)), "net5"),
    )
    emulation.bound_forwarding_tables()
    assert {one.name for one in emulation.netlink.interfaces() if one.learns_few_addresses} == {"net5", "walt-net"}


def test_nothing_is_kept_of_a_node_that_is_removed(emulation):
    """A node without ports keeps its share of a round trip for its next boot; one that is gone has none."""
    emulation.repair()
    for number in (1, 2):
        emulation.compensate(number, 600)
    emulation.detach(1)
    emulation.attach(1, "vnode1", "alice", node(1, SLOW).interfaces)
    applied = {state.port.node_id: state.port.compensation_us for state in emulation.snapshot().ports.values()}
    assert applied == {1: 0, 2: 600}


def compensation_of(emulation: Emulation) -> dict[str, int]:
    return {tap: state.port.compensation_us for tap, state in emulation.snapshot().ports.items()}


def test_the_way_to_other_hosts_is_taken_off_where_a_network_spans_them(emulation):
    emulation.repair()
    emulation.compensate(1, 600)
    emulation.compensate_ways({5: 300, 6: 9})
    assert compensation_of(emulation) == {"vn1e3": 900, "vn2e3": 0}, "the second node has not been measured"
    emulation.compensate(2, 500)
    emulation.attach(1, "vnode1", "alice", [Interface(3, "", HOME, SLOW), Interface(4, "", OTHERS, SLOW)])
    emulation.update_links(node(2, SLOWER))
    assert compensation_of(emulation) == {"vn1e3": 900, "vn1e4": 600, "vn2e3": 800}
    emulation.compensate_ways({5: 0})
    assert compensation_of(emulation) == {"vn1e3": 600, "vn1e4": 600, "vn2e3": 500}
    emulation.compensate_ways({5: 300})
    restarted = emulation_of(Path())
    restarted.netlink = emulation.netlink
    restarted.update_links(node(2, SLOW))
    assert compensation_of(restarted) == {"vn1e3": 900, "vn1e4": 600, "vn2e3": 800}, "until it is measured again"
