"""From ports as they are to ports as they should be, without a kernel."""

import time
from dataclasses import replace

import pytest

from services.netemu.ports import plan as p
from services.netemu.ports.plan import BROKEN, KernelInterface, Snapshot, plan, snapshot_of
from services.netemu.ports.port import Port, helper_alias, network_alias, port_alias
from walt.contracts.errors import Failed
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CABLE, DIRECT, KERNEL
from walt.contracts.nodes import Network

WALT = Network(0, "walt-net", "")
HOME = Network(5, "home-net", "alice")
SLOW = LinkModel(up=Direction(10_000))
SLOWER = LinkModel(up=Direction(20_000))
MAIN = Port(1, "vnode1", "alice", 2, WALT)
SIDE = Port(1, "vnode1", "alice", 3, HOME, SLOW)
OTHER = Port(2, "vnode2", "bob", 2, WALT)


def state(port, backend=None, applied=None):
    backend = backend or (CABLE if port.link.shapes else DIRECT)
    return p.PortState(port, backend, port.applied if applied is None else applied)


def snapshot(*states, shaper=CABLE, foreign=()):
    bridges = frozenset({"walt-net"} | {one.port.bridge for one in states})
    return Snapshot(shaper, bridges, {one.port.tap: one for one in states}, frozenset(foreign))


def test_nothing_to_do_when_all_is_as_wanted():
    assert plan(snapshot(state(MAIN), state(SIDE), state(OTHER)), 1, [MAIN, SIDE]) == []


def test_a_new_node():
    assert plan(snapshot(), 1, [MAIN, SIDE]) == [
        p.MakePort(MAIN),
        p.SetLink(MAIN, DIRECT, BROKEN),
        p.LabelPort(MAIN),
        p.MakeBridge(HOME),
        p.MakePort(SIDE),
        p.SetLink(SIDE, CABLE, BROKEN),
        p.LabelPort(SIDE),
    ]


def test_two_ports_on_a_new_network_make_one_bridge():
    second = replace(SIDE, slot=4)
    assert [a for a in plan(snapshot(), 1, [SIDE, second]) if isinstance(a, p.MakeBridge)] == [p.MakeBridge(HOME)]


def test_other_link_values_are_set_and_labelled_last():
    wanted = replace(SIDE, link=SLOWER)
    assert plan(snapshot(state(SIDE)), 1, [wanted]) == [p.SetLink(wanted, CABLE, CABLE), p.LabelPort(wanted)]


def test_a_changed_owner_is_told_to_the_cable_whose_shares_are_by_owner():
    wanted = replace(SIDE, owner="bob")
    assert plan(snapshot(state(SIDE)), 1, [wanted]) == [p.SetLink(wanted, CABLE, CABLE), p.LabelPort(wanted)]


def test_a_backend_that_applies_something_else_is_told():
    assert plan(snapshot(state(SIDE, applied=SLOWER)), 1, [SIDE]) == [p.SetLink(SIDE, CABLE, CABLE)]


@pytest.mark.parametrize("live, backend", [(True, CABLE), (False, DIRECT)])
def test_a_shaped_port_leaves_its_backend_only_at_boot(live, backend):
    wanted = replace(SIDE, link=LinkModel())
    assert p.SetLink(wanted, backend, CABLE) in plan(snapshot(state(SIDE)), 1, [wanted], live=live)


SEEDED = LinkModel(up=Direction(10_000, loss_ppm=1, seed=1))


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("was", [DIRECT, KERNEL])
def test_what_netem_cannot_do_goes_through_the_cable_at_once(live, was):
    known = state(SIDE, was)
    wanted = replace(SIDE, link=SEEDED)
    assert plan(snapshot(known, shaper=KERNEL), 1, [wanted], live=live) == [
        p.SetLink(wanted, CABLE, was),
        p.LabelPort(wanted),
    ]


@pytest.mark.parametrize("live, backend", [(True, CABLE), (False, KERNEL)])
def test_it_comes_back_to_netem_at_boot_only(live, backend):
    known = state(replace(SIDE, link=SEEDED), CABLE)
    assert p.SetLink(SIDE, backend, CABLE) in plan(snapshot(known, shaper=KERNEL), 1, [SIDE], live=live)


def test_a_broken_port_is_mended_by_the_backend_of_its_link():
    broken = [state(SIDE, BROKEN), state(replace(SIDE, slot=4, link=SEEDED), BROKEN), state(MAIN, BROKEN)]
    mended = p.plan_repair(snapshot(*broken, shaper=KERNEL))
    assert [action.backend for action in mended] == [KERNEL, CABLE, DIRECT]


def test_a_port_of_another_network_is_made_anew():
    wanted = replace(SIDE, network=Network(6, "lab", "alice"))
    actions = plan(snapshot(state(SIDE)), 1, [wanted])
    assert actions.index(p.RemovePort(SIDE)) < actions.index(p.MakePort(wanted))
    assert actions[-1] == p.RemoveBridge("net5")


def test_the_last_port_takes_its_bridge_along_but_not_walt_net():
    assert plan(snapshot(state(MAIN), state(SIDE)), 1, []) == [
        p.RemovePort(MAIN),
        p.RemovePort(SIDE),
        p.RemoveBridge("net5"),
    ]
    shared = replace(SIDE, node_id=2)
    assert plan(snapshot(state(SIDE), state(shared)), 1, []) == [p.RemovePort(SIDE)]


@pytest.mark.parametrize("name", ["net5", "vn1e3", "cn1e3", "cb1e3", "ib1e3"])
def test_a_name_of_the_host_is_refused_by_name(name):
    with pytest.raises(Failed, match=f"{name}, wanted for vnode1 on home-net"):
        plan(replace(snapshot(), foreign=frozenset({name})), 1, [SIDE])


def test_walt_net_is_made_once_and_never_taken_over():
    assert p.plan_walt_net(Snapshot(CABLE)) == [p.MakeBridge(WALT)]
    assert p.plan_walt_net(snapshot()) == []
    with pytest.raises(Failed, match="walt-net"):
        p.plan_walt_net(Snapshot(CABLE, foreign=frozenset({"walt-net"})))


def test_broken_ports_are_mended():
    assert p.plan_repair(snapshot(state(MAIN), state(SIDE, BROKEN))) == [p.SetLink(SIDE, CABLE, BROKEN)]


def test_empty_bridges_are_swept():
    assert p.plan_empty_bridges(replace(snapshot(state(MAIN)), bridges=frozenset({"walt-net", "net9"}))) == [
        p.RemoveBridge("net9")
    ]


TAP = KernelInterface("vn1e3", "tun", port_alias(SIDE), "")
BRIDGE = KernelInterface("net5", "bridge", network_alias(HOME), "")
NODE_END = KernelInterface("cn1e3", "tun", helper_alias("vn1e3"), "")
BRIDGE_END = KernelInterface("cb1e3", "tun", helper_alias("vn1e3"), "net5")
IFB = KernelInterface("ib1e3", "ifb", helper_alias("vn1e3"), "")
ON_BRIDGE = replace(TAP, master="net5")


@pytest.mark.parametrize(
    "links, cabled, backend",
    [
        ([TAP, NODE_END, BRIDGE_END], {"vn1e3": SLOW}, CABLE),
        ([TAP, NODE_END, BRIDGE_END], {}, BROKEN),
        ([TAP, NODE_END], {"vn1e3": SLOW}, BROKEN),
        ([TAP, NODE_END, replace(BRIDGE_END, master="")], {"vn1e3": SLOW}, BROKEN),
        ([ON_BRIDGE, NODE_END, BRIDGE_END], {"vn1e3": SLOW}, BROKEN),
        ([ON_BRIDGE, IFB], {}, KERNEL),
        ([ON_BRIDGE, replace(IFB, alias="")], {}, BROKEN),
        ([TAP, replace(NODE_END, alias="not finished"), BRIDGE_END], {"vn1e3": SLOW}, BROKEN),
        ([ON_BRIDGE], {}, DIRECT),
        ([TAP], {}, BROKEN),
    ],
)
def test_the_world_is_read_from_the_interfaces(links, cabled, backend):
    seen = snapshot_of([BRIDGE, *links], cabled, CABLE)
    assert seen.bridges == {"net5"}
    assert seen.ports["vn1e3"].backend == backend
    assert seen.ports["vn1e3"].port == SIDE


def test_names_of_the_host_are_foreign():
    assert snapshot_of([KernelInterface("eth0", "", "", ""), BRIDGE], {}, CABLE).foreign == {"eth0"}


def test_helpers_without_their_port_are_orphans():
    links = [BRIDGE, TAP, NODE_END, replace(BRIDGE_END, name="cb9e9", alias=helper_alias("vn9e9"))]
    assert p.orphans(snapshot_of(links, {}, CABLE), links) == ["cb9e9"]


def test_many_nodes_are_compared_in_time_that_grows_with_their_number():
    ports = [
        replace(OTHER, node_id=number, network=Network(1 + number // 2, f"n{number // 2}", "bob"))
        for number in range(4000)
    ]
    found = snapshot(*map(state, ports))
    began = time.process_time()
    assert all(plan(found, port.node_id, [port]) == [] for port in ports)
    assert time.process_time() - began < 2
    assert plan(found, 7, []) == [p.RemovePort(ports[7])], "its network has another port"
