"""Physical nodes on a real RabbitMQ: a bootserver that says what the tests tell it of machines."""

from __future__ import annotations

import pytest

from services.contracts import bootserver, nodes, wire
from services.contracts.errors import Conflict, InvalidRequest
from services.contracts.nodes import NodeWanted
from services.contracts.vmrunner import BOOTED, DELAYING, LOADING, STOPPED, VmRemoved, VmReport
from services.kit import peers
from tests.service.test_nodes import HOST, FakeRunner, platform, refusal, running, until  # noqa: F401

MAC, IP, NAME = "52:54:00:1a:2b:3c", "10.77.0.13", "pc-5254001a2b3c"


def register(mac=MAC, ip=IP):
    return wire.load(NodeWanted, peers.call("nodes", "register_machine", mac=mac, ip=ip))


def says(platform, state, sequence, **changes):  # noqa: F811
    """bootserver reports this of the machine; returns once it is known."""
    wish = platform.wish(NAME)
    values = {"boot": wish.boot, "run": 1, "since": 1000.0 + sequence, "reason": "", **changes}
    report = VmReport(node_id=wish.id, name=NAME, host=HOST, sequence=sequence, state=state, **values)
    platform.tell(bootserver.SERVICE, bootserver.MACHINE_CHANGED, report)
    until(lambda: platform.node(NAME)["since"] == report.since)


@pytest.fixture
def pc(platform):  # noqa: F811
    register()
    says(platform, BOOTED, 1)
    return platform


def test_a_machine_that_boots_is_a_free_physical_node(platform):  # noqa: F811
    wish = register()
    assert (wish.type, wish.image, wish.ip, wish.walt_net.mac) == (nodes.PHYSICAL, "default", IP, MAC)
    (node,) = platform.ask("bob", "get_nodes", "free-nodes")
    assert (node["name"], node["owner"], node["type"], node["state"]) == (NAME, "", "physical", LOADING)
    assert (node["mac"], node["config"]) == (MAC, {"netsetup": "LAN"})
    until(lambda: [one.name for one in FakeRunner.wanted] == [NAME])
    assert register() == wish  # it boots again
    assert len(platform.ask("bob", "get_nodes", "all-nodes")) == 1
    (event,) = [one for one in platform.ask("bob", "get_events", NAME) if one["kind"] == "register"]
    assert (event["user"], event["text"]) == ("", f"mac={MAC} ip={IP}")


def test_addresses_of_others_register_nobody(pc):
    with pytest.raises(Conflict, match="not its own"):
        register(ip="10.77.0.14")
    with pytest.raises(Conflict, match=NAME):
        register(mac="52:54:00:1a:2b:3d")
    with pytest.raises(InvalidRequest, match=r"10\.77\.0\.12 to 10\.77\.0\.14"):
        register(mac="52:54:00:1a:2b:3d", ip="10.77.0.5")
    with pytest.raises(InvalidRequest, match="not the MAC"):
        register(mac="mac")


def test_it_is_acquired_rebooted_given_an_image_and_released(pc):
    assert pc.ask("alice", "acquire_nodes", NAME)["notes"] == []
    assert (pc.node(NAME)["owner"], pc.node(NAME)["state"]) == ("alice", DELAYING)
    for call, image in ((("reboot_nodes", NAME), "default"), (("boot_nodes", NAME, "debian"), "debian")):
        boot = pc.wish(NAME).boot
        pc.ask("alice", *call)
        assert (pc.wish(NAME).boot, pc.wish(NAME).image) == (boot + 1, image)
    pc.ask("alice", "release_nodes", NAME)
    assert (pc.node(NAME)["owner"], pc.node(NAME)["image"], pc.wish(NAME).boot) == ("", "default", 5)


def test_a_machine_that_does_not_answer_boots_later_and_that_is_said(pc):
    says(pc, STOPPED, 2, reason="it does not answer on its ssh port")
    (note,) = pc.ask("alice", "acquire_nodes", NAME)["notes"]
    assert "once it is switched on" in note
    says(pc, STOPPED, 3)
    pc.ask("alice", "stop_nodes", NAME)
    assert pc.wish(NAME).power == nodes.POWER_OFF
    assert (register().power, register().boot) == (nodes.POWER_ON, pc.wish(NAME).boot)  # somebody switched it on


def test_what_a_machine_cannot_is_refused_with_its_reason(pc):
    pc.ask("alice", "acquire_nodes", NAME)
    pc.ask("alice", "create_nodes", ["vnode1"])
    before = pc.node(NAME)
    for call in (
        ("reboot_nodes", "my-nodes", True),
        ("stop_nodes", "my-nodes", True),
        ("start_nodes", "my-nodes"),
        ("configure_nodes", "my-nodes", ["ram=1G"]),
        ("configure_nodes", "my-nodes", ["networks=walt-net,home-net"]),
        ("link_nodes", "my-nodes", "walt-net", ["lat=10ms"]),
    ):
        said = refusal(pc, "alice", *call)
        assert NAME in said and "vnode1" not in said, call
    assert pc.node(NAME) == before
    assert pc.ask("alice", "configure_nodes", NAME, ["netsetup=NAT"])["nodes"][0]["config"] == {"netsetup": "NAT"}


def test_it_is_renamed_and_keeps_its_name_when_it_boots(pc):
    pc.ask("alice", "acquire_nodes", NAME)
    pc.ask("alice", "rename_node", NAME, "bench")
    assert register().name == "bench"


def test_a_machine_is_forgotten_and_comes_again(pc):
    pc.ask("alice", "acquire_nodes", NAME)
    wish = pc.wish(NAME)
    pc.ask("alice", "remove_nodes", NAME)
    with pytest.raises(Conflict, match="being removed"):
        register()
    pc.tell(bootserver.SERVICE, bootserver.MACHINE_REMOVED, VmRemoved(wish.id, NAME, HOST))
    until(lambda: FakeRunner.removed == [NAME])
    assert (register().owner, register().id != wish.id) == ("", True)


def test_a_virtual_node_never_gets_the_address_of_a_machine(platform):  # noqa: F811
    names = [f"n{number}" for number in range(10)]
    given = platform.ask("alice", "create_nodes", names)["nodes"]
    assert max(int(one["ip"].rpartition(".")[2]) for one in given) == 11
    assert register().ip == IP
