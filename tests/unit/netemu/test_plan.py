"""From ports as they are to ports as they should be, without a kernel."""

from dataclasses import replace

import pytest

from services.contracts.errors import Failed
from services.contracts.links import Direction, LinkModel
from services.contracts.netemu import CABLE, DIRECT, KERNEL
from services.contracts.nodes import Network
from services.netemu import plan as p
from services.netemu.plan import BROKEN, Link, World, plan, world_of
from services.netemu.ports import Port, helper_alias, network_alias, port_alias

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


def world(*states, shaper=CABLE, foreign=()):
    bridges = frozenset({"walt-net"} | {one.port.bridge for one in states})
    return World(shaper, bridges, {one.port.tap: one for one in states}, frozenset(foreign))


def test_nothing_to_do_when_all_is_as_wanted():
    assert plan(world(state(MAIN), state(SIDE), state(OTHER)), 1, [MAIN, SIDE]) == []


def test_a_new_node():
    assert plan(world(), 1, [MAIN, SIDE]) == [
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
    assert [a for a in plan(world(), 1, [SIDE, second]) if isinstance(a, p.MakeBridge)] == [p.MakeBridge(HOME)]


def test_other_link_values_are_set_and_labelled_last():
    wanted = replace(SIDE, link=SLOWER)
    assert plan(world(state(SIDE)), 1, [wanted]) == [p.SetLink(wanted, CABLE, CABLE), p.LabelPort(wanted)]


def test_a_changed_owner_is_only_labelled():
    wanted = replace(SIDE, owner="bob")
    assert plan(world(state(SIDE)), 1, [wanted]) == [p.LabelPort(wanted)]


def test_a_backend_that_applies_something_else_is_told():
    assert plan(world(state(SIDE, applied=SLOWER)), 1, [SIDE]) == [p.SetLink(SIDE, CABLE, CABLE)]


@pytest.mark.parametrize("live, backend", [(True, CABLE), (False, DIRECT)])
def test_a_shaped_port_leaves_its_backend_only_at_boot(live, backend):
    wanted = replace(SIDE, link=LinkModel())
    assert p.SetLink(wanted, backend, CABLE) in plan(world(state(SIDE)), 1, [wanted], live=live)


SEEDED = LinkModel(up=Direction(10_000, loss_ppm=1, seed=1))


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("was", [DIRECT, KERNEL])
def test_what_netem_cannot_do_goes_through_the_cable_at_once(live, was):
    known = state(SIDE, was)
    wanted = replace(SIDE, link=SEEDED)
    assert plan(world(known, shaper=KERNEL), 1, [wanted], live=live) == [
        p.SetLink(wanted, CABLE, was),
        p.LabelPort(wanted),
    ]


@pytest.mark.parametrize("live, backend", [(True, CABLE), (False, KERNEL)])
def test_it_comes_back_to_netem_at_boot_only(live, backend):
    known = state(replace(SIDE, link=SEEDED), CABLE)
    assert p.SetLink(SIDE, backend, CABLE) in plan(world(known, shaper=KERNEL), 1, [SIDE], live=live)


def test_a_broken_port_is_mended_by_the_backend_of_its_link():
    broken = [state(SIDE, BROKEN), state(replace(SIDE, slot=4, link=SEEDED), BROKEN), state(MAIN, BROKEN)]
    mended = p.plan_mend(world(*broken, shaper=KERNEL))
    assert [action.backend for action in mended] == [KERNEL, CABLE, DIRECT]


def test_a_port_of_another_network_is_made_anew():
    wanted = replace(SIDE, network=Network(6, "lab", "alice"))
    actions = plan(world(state(SIDE)), 1, [wanted])
    assert actions.index(p.RemovePort(SIDE)) < actions.index(p.MakePort(wanted))
    assert actions[-1] == p.RemoveBridge("net5")


def test_the_last_port_takes_its_bridge_along_but_not_walt_net():
    assert plan(world(state(MAIN), state(SIDE)), 1, []) == [
        p.RemovePort(MAIN),
        p.RemovePort(SIDE),
        p.RemoveBridge("net5"),
    ]
    shared = replace(SIDE, node_id=2)
    assert plan(world(state(SIDE), state(shared)), 1, []) == [p.RemovePort(SIDE)]


@pytest.mark.parametrize("name", ["net5", "vn1e3", "cn1e3", "cb1e3", "ib1e3"])
def test_a_name_of_the_host_is_refused_by_name(name):
    with pytest.raises(Failed, match=f"{name}, wanted for vnode1 on home-net"):
        plan(replace(world(), foreign=frozenset({name})), 1, [SIDE])


def test_walt_net_is_made_once_and_never_taken_over():
    assert p.plan_walt_net(World(CABLE)) == [p.MakeBridge(WALT)]
    assert p.plan_walt_net(world()) == []
    with pytest.raises(Failed, match="walt-net"):
        p.plan_walt_net(World(CABLE, foreign=frozenset({"walt-net"})))


def test_broken_ports_are_mended():
    assert p.plan_mend(world(state(MAIN), state(SIDE, BROKEN))) == [p.SetLink(SIDE, CABLE, BROKEN)]


def test_empty_bridges_are_swept():
    assert p.plan_sweep(replace(world(state(MAIN)), bridges=frozenset({"walt-net", "net9"}))) == [
        p.RemoveBridge("net9")
    ]


TAP = Link("vn1e3", "tun", port_alias(SIDE), "")
BRIDGE = Link("net5", "bridge", network_alias(HOME), "")
NODE_END = Link("cn1e3", "tun", helper_alias("vn1e3"), "")
BRIDGE_END = Link("cb1e3", "tun", helper_alias("vn1e3"), "net5")
IFB = Link("ib1e3", "ifb", helper_alias("vn1e3"), "")
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
    seen = world_of([BRIDGE, *links], cabled, CABLE)
    assert seen.bridges == {"net5"}
    assert seen.ports["vn1e3"].backend == backend
    assert seen.ports["vn1e3"].port == SIDE


def test_names_of_the_host_are_foreign():
    assert world_of([Link("eth0", "", "", ""), BRIDGE], {}, CABLE).foreign == {"eth0"}


def test_helpers_without_their_port_are_orphans():
    links = [BRIDGE, TAP, NODE_END, replace(BRIDGE_END, name="cb9e9", alias=helper_alias("vn9e9"))]
    assert p.orphans(world_of(links, {}, CABLE), links) == ["cb9e9"]
