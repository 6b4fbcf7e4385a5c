"""Addresses of networks of users change on nodes that run: what their systems are given, and what is told of it."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from services.bootserver.addresses import decision, live_addresses
from tests.service.bootserver.world import NODE_IP, SPEC
from tests.support.specs import HOME_NET
from tests.support.wait import wait_until
from walt.contracts import nodes, serialization
from walt.contracts.bootserver import BootRequest, SetAddresses
from walt.contracts.errors import Failed
from walt.contracts.nodes import Interface, Network

MAC = HOME_NET.mac


def spec_with(*addresses, version=2, **changes):
    home_net = replace(HOME_NET, addresses=addresses)
    return replace(SPEC, interfaces=(SPEC.walt_net, home_net), version=version, **changes)


def given(server):
    return serialization.load_all(SetAddresses, server.call("get_addresses", node_ids=[7, 8]))


def given_to(console):
    """[(hosts, [address, …]), …] of the commands so far."""
    found = []
    for (line,) in console.commands:
        _, _, _, _, hosts, *pairs = shlex.split(line)
        assert set(pairs[::2]) <= {MAC}
        found.append((hosts, pairs[1::2]))
    return found


@pytest.fixture
def booted(server, network, nodes_service, console, monkeypatch):
    """The node has booted with 10.64.0.1."""
    monkeypatch.setattr(live_addresses, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(live_addresses, "TURN_S", 0.05)
    network.answering = {NODE_IP}
    spec = spec_with("10.64.0.1/24")
    nodes_service.put(spec)
    server.publish(BootRequest.of(spec, 1))
    wait_until(lambda: given(server), 5)
    assert given(server) == [SetAddresses(7, MAC, ("10.64.0.1/24",))]
    return spec


def test_what_changes_is_set_at_once_and_once(server, nodes_service, console, booted):
    assert console.commands == []  # its boot brought them
    nodes_service.put(spec_with("10.64.0.9/24", "fd77::9/64", version=3))
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.9/24", "fd77::9/64"))], 5)
    ((hosts, addresses),) = given_to(console)
    assert addresses == ["10.64.0.9/24", "fd77::9/64"]
    assert "10.64.0.9 vnode1.home-net\nfd77::9 vnode1.home-net\n" in hosts and "10.64.0.1 " not in hosts
    nodes_service.put(spec_with("10.64.0.9/24", "fd77::9/64", version=4, cpu_cores=1))
    nodes_service.put(spec_with(version=5))  # addr=none
    wait_until(lambda: len(console.commands) == 2, 5)
    wait_until(lambda: given(server) == [], 5)
    assert given_to(console)[1][1] == []


def test_what_changed_during_the_boot_is_set_at_its_end(server, network, nodes_service, console, booted):
    network.answering = set()
    server.publish(BootRequest.of(booted, 2))
    nodes_service.put(spec_with("10.64.0.9/24", version=3))
    server.call("diagnose")
    assert (given(server), console.commands) == ([], [])
    network.answering = {NODE_IP}
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.9/24",))], 5)
    assert len(console.commands) == 1


def test_a_node_that_is_not_reached_is_tried_again_and_says_so(server, nodes_service, console, booted):
    console.fault = Failed("10.0.0.2 cannot be reached by ssh")
    nodes_service.put(spec_with("10.64.0.9/24", version=3))
    wait_until(lambda: "by ssh; it is tried again" in given(server)[0].reason, 5)
    assert given(server)[0].addresses is None  # the command may have been cut off at any line
    nodes_service.put(spec_with("10.64.0.1/24", version=4))  # as before: that is no longer known to be there
    console.fault = None
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.1/24",))], 5)
    nodes_service.put(spec_with("10.64.0.9/24", version=5))
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.9/24",))], 5)


def test_what_the_guest_refuses_comes_with_its_next_boot(server, nodes_service, console, booted):
    console.output = f"walt: {MAC} 10.64.0.9/24 ens3 \x1b[31mcannot\nwalt: {MAC} 6.6.6.6/8 not asked\nother\n"
    nodes_service.put(spec_with("10.64.0.9/24", "fd77::9/64", version=3))
    reason = "ens3  [31mcannot; at its next boot"
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("fd77::9/64",), reason)], 5)
    console.status_of, console.output = lambda command: 127, "sh: not found"
    nodes_service.put(spec_with("10.64.0.8/24", "fd77::9/64", version=4))
    reason = "sh: not found; at its next boot"
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("fd77::9/64",), reason)], 5)
    server.call("diagnose")
    assert len(console.commands) == 2
    server.publish(BootRequest.of(spec_with("10.64.0.8/24", "fd77::9/64"), 2))
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.8/24", "fd77::9/64"))], 5)


def test_after_a_restart_what_was_set_since_the_boot_is_asked_of_the_node(server, nodes_service, console, booted):
    nodes_service.put(spec_with("10.64.0.9/24", version=3))
    wait_until(lambda: len(console.commands) == 1, 5)
    server.stop()
    nodes_service.specs[7] = booted  # as it booted, but the node has had others since
    server.start()
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.1/24",))], 5)
    assert [addresses for _, addresses in given_to(console)] == [["10.64.0.9/24"], ["+ens3", "10.64.0.1/24"]]
    nodes_service.specs[7] = spec_with("10.64.0.7/24", version=1)  # of an event that was lost
    server.restart()
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.7/24",))], 5)


@pytest.mark.parametrize(
    "changes", [{"owner": "bob", "owner_account": "b1"}, {"power": nodes.POWER_OFF}], ids=["owner", "power"]
)
def test_a_system_that_is_to_end_gets_none(server, nodes_service, console, booted, changes):
    nodes_service.put(spec_with("10.64.0.9/24", version=3, **changes))
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.1/24",), decision.BEING_SET)], 5)
    nodes_service.put(spec_with("10.64.0.5/24", version=4))
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, ("10.64.0.5/24",))], 5)
    assert [addresses for _, addresses in given_to(console)] == [["10.64.0.5/24"]]


def test_an_image_with_a_script_of_its_own_gets_none(server, network, nodes_service, console, images):
    (images / "tiny-1/boot/pc-x86-64").mkdir()
    (images / "tiny-1/boot/pc-x86-64/start.ipxe").write_text("#!ipxe\nboot\n")
    network.answering = {NODE_IP}
    spec = spec_with("10.64.0.1/24")
    nodes_service.put(spec)
    server.publish(BootRequest.of(spec, 1))
    wait_until(lambda: given(server) == [SetAddresses(7, MAC, (), decision.OWN_SCRIPT)], 5)
    nodes_service.put(spec_with("10.64.0.9/24", version=3))
    server.call("diagnose")
    assert console.commands == []


LAB = Interface(4, "52:54:00:00:00:03", Network(9, "lab", "alice"))


def words(console):
    """Of the last command, those that are said of the interface on lab."""
    line = shlex.split(console.commands[-1][0])[5:]
    return [word for mac, word in zip(line[::2], line[1::2], strict=True) if mac == LAB.mac]


def test_an_interface_that_came_is_named_once_also_without_an_address(server, nodes_service, console, booted):
    home = spec_with("10.64.0.1/24", version=3)
    both = replace(home, interfaces=(*home.interfaces, LAB))
    nodes_service.put(both)
    wait_until(lambda: len(console.commands) == 1 and words(console) == ["+ens4"], 5)
    with_address = replace(LAB, addresses=("10.64.1.1/24",))
    nodes_service.put(replace(both, version=4, interfaces=(*home.interfaces, with_address)))
    wait_until(lambda: len(console.commands) == 2 and words(console) == ["10.64.1.1/24"], 5)
    nodes_service.put(replace(home, version=5))
    nodes_service.put(replace(both, version=6, interfaces=(*home.interfaces, with_address)))  # it is a new one now
    wait_until(lambda: words(console) == ["+ens4", "10.64.1.1/24"], 5)


def test_an_interface_that_is_not_there_yet_is_looked_for_again(server, nodes_service, console, booted):
    home = spec_with("10.64.0.1/24", version=3)
    console.output = f"walt: {LAB.mac} +ens4 no interface has it\nwalt: {LAB.mac} 10.64.1.1/24 no interface has it\n"
    both = replace(home, interfaces=(*home.interfaces, replace(LAB, addresses=("10.64.1.1/24",))))
    nodes_service.put(both)
    wait_until(lambda: len(console.commands) > 1, 5)
    assert words(console) == ["+ens4", "10.64.1.1/24"]
    (reason,) = [one.reason for one in given(server) if one.mac == LAB.mac]
    assert reason == f"it has no interface with the MAC address {LAB.mac} yet; it is tried again"
    console.output = ""
    wait_until(lambda: SetAddresses(7, LAB.mac, ("10.64.1.1/24",)) in given(server), 5)
