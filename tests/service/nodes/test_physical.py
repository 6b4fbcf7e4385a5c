"""Physical nodes, of which a fake bootserver reports."""

from __future__ import annotations

import pytest

from tests.service.nodes.world import HOST
from tests.support.wait import wait_until
from walt.contracts import bootserver, nodes, serialization
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.nodes import NodeWanted
from walt.contracts.vmrunner import BOOTED, DELAYING, LOADING, STOPPED, VmRemoved, VmReport

MAC, IP, NAME = "52:54:00:1a:2b:3c", "10.77.0.13", "pc-5254001a2b3c"


def register(platform, mac=MAC, ip=IP):
    return serialization.load(NodeWanted, platform.bus.call("nodes", "register_machine", mac=mac, ip=ip))


def report(platform, state, sequence, **changes):
    """bootserver reports this of the machine; returns once it is known."""
    spec = platform.spec(NAME)
    values = {"boot": spec.boot, "run": 1, "since": 1000.0 + sequence, "reason": "", **changes}
    sent = VmReport(node_id=spec.id, name=NAME, host=HOST, sequence=sequence, state=state, **values)
    platform.bootserver.announce(bootserver.MACHINE_CHANGED, sent)
    wait_until(lambda: platform.view(NAME)["since"] == sent.since)


@pytest.fixture
def pc(platform):
    register(platform)
    report(platform, BOOTED, 1)
    return platform


def test_a_machine_that_boots_is_a_free_physical_node(platform):
    spec = register(platform)
    assert (spec.type, spec.image, spec.ip, spec.walt_net.mac) == (nodes.PHYSICAL, "default", IP, MAC)
    (node,) = platform.call("bob", "get_nodes", "free-nodes")
    assert (node["name"], node["owner"], node["type"], node["state"]) == (NAME, "", "physical", LOADING)
    assert (node["mac"], node["config"]) == (MAC, {"netsetup": "LAN"})
    wait_until(lambda: platform.announced() == [NAME])
    assert register(platform) == spec  # it boots again
    assert len(platform.call("bob", "get_nodes", "all-nodes")) == 1
    (event,) = [one for one in platform.call("bob", "get_events", NAME) if one["kind"] == "register"]
    assert (event["user"], event["text"]) == ("", f"mac={MAC} ip={IP}")


def test_addresses_of_others_register_nobody(pc):
    with pytest.raises(Conflict, match="not its own"):
        register(pc, ip="10.77.0.14")
    with pytest.raises(Conflict, match=NAME):
        register(pc, mac="52:54:00:1a:2b:3d")
    with pytest.raises(InvalidRequest, match=r"10\.77\.0\.12 to 10\.77\.0\.14"):
        register(pc, mac="52:54:00:1a:2b:3d", ip="10.77.0.5")
    with pytest.raises(InvalidRequest, match="not the MAC"):
        register(pc, mac="mac")


def test_it_is_acquired_rebooted_given_an_image_and_released(pc):
    assert pc.call("alice", "acquire_nodes", NAME)["notes"] == []
    assert (pc.view(NAME)["owner"], pc.view(NAME)["state"]) == ("alice", DELAYING)
    for call, image in ((("reboot_nodes", NAME), "default"), (("boot_nodes", NAME, "debian"), "debian")):
        boot = pc.spec(NAME).boot
        pc.call("alice", *call)
        assert (pc.spec(NAME).boot, pc.spec(NAME).image) == (boot + 1, image)
    pc.call("alice", "release_nodes", NAME)
    assert (pc.view(NAME)["owner"], pc.view(NAME)["image"], pc.spec(NAME).boot) == ("", "default", 5)


def test_a_machine_that_does_not_answer_boots_later_and_that_is_said(pc):
    report(pc, STOPPED, 2, reason="it does not answer on its ssh port")
    (note,) = pc.call("alice", "acquire_nodes", NAME)["notes"]
    assert "once it is switched on" in note
    report(pc, STOPPED, 3)
    pc.call("alice", "stop_nodes", NAME)
    assert pc.spec(NAME).power == nodes.POWER_OFF
    assert (register(pc).power, register(pc).boot) == (nodes.POWER_ON, pc.spec(NAME).boot)  # somebody switched it on


def test_what_a_machine_cannot_is_refused_with_its_reason(pc):
    pc.call("alice", "acquire_nodes", NAME)
    pc.call("alice", "create_nodes", ["vnode1"])
    before = pc.view(NAME)
    for call in (
        ("reboot_nodes", "my-nodes", True),
        ("stop_nodes", "my-nodes", True),
        ("start_nodes", "my-nodes"),
        ("configure_nodes", "my-nodes", ["ram=1G"]),
        ("configure_nodes", "my-nodes", ["networks=walt-net,home-net"]),
        ("link_nodes", "my-nodes", "walt-net", ["lat=10ms"]),
    ):
        refused = pc.refusal("alice", *call)
        assert NAME in refused and "vnode1" not in refused, call
    assert pc.view(NAME) == before
    assert pc.call("alice", "configure_nodes", NAME, ["netsetup=NAT"])["nodes"][0]["config"] == {"netsetup": "NAT"}


def test_it_is_renamed_and_keeps_its_name_when_it_boots(pc):
    pc.call("alice", "acquire_nodes", NAME)
    pc.call("alice", "rename_node", NAME, "bench")
    assert register(pc).name == "bench"


def test_a_machine_is_forgotten_and_comes_again(pc):
    pc.call("alice", "acquire_nodes", NAME)
    spec = pc.spec(NAME)
    pc.call("alice", "remove_nodes", NAME)
    with pytest.raises(Conflict, match="being removed"):
        register(pc)
    pc.bootserver.announce(bootserver.MACHINE_REMOVED, VmRemoved(spec.id, NAME, HOST))
    wait_until(lambda: pc.vmrunner.removed == [NAME])
    assert (register(pc).owner, register(pc).id != spec.id) == ("", True)


def test_a_virtual_node_never_gets_the_address_of_a_machine(platform):
    names = [f"n{number}" for number in range(10)]
    given = platform.call("alice", "create_nodes", names)["nodes"]
    assert max(int(one["ip"].rpartition(".")[2]) for one in given) == 11
    assert register(platform).ip == IP
