"""Who may command which node, how nodes change hands, and what their next owner finds."""

from __future__ import annotations

import pytest

from services.nodes.domain.ownership import Takeover
from tests.service.nodes.world import FREE, HOST
from tests.support.wait import wait_until
from walt.contracts import nodes
from walt.contracts.errors import NotFound, WaltError
from walt.contracts.vmrunner import DELAYING

COMMANDS = {
    "configure_nodes": [["ram=1G"]],
    "reboot_nodes": [],
    "stop_nodes": [],
    "start_nodes": [],
    "rename_node": ["other"],
    "boot_nodes": ["debian"],
    "remove_nodes": [],
    "release_nodes": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_its_owners(platform, command):
    platform.call("alice", "create_nodes", ["vnode1"])
    before = platform.view("vnode1")
    refused = platform.refusal("bob", command, "vnode1", *COMMANDS[command])
    assert refused == "NotOwner: node 'vnode1' belongs to alice"
    assert platform.view("vnode1") == before
    (node,) = platform.call("alice", command, "vnode1", *COMMANDS[command])["nodes"]
    assert node["name"] == ("other" if command == "rename_node" else "vnode1")


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"release_nodes"}))
def test_free_node_must_be_acquired_first(platform, command):
    platform.call("alice", "create_nodes", ["vnode1"])
    platform.call("alice", "release_nodes", "vnode1")
    refused = platform.refusal("alice", command, "vnode1", *COMMANDS[command])
    assert refused.startswith("NotOwner") and "is free; acquire it first (walt node acquire vnode1)" in refused


def test_acquire_and_release(platform, caplog):
    platform.call("alice", "create_nodes", ["vnode1"], image="debian")
    assert platform.refusal("alice", "acquire_nodes", "vnode1") == "Conflict: node 'vnode1' is already yours"
    refused = platform.refusal("bob", "acquire_nodes", "vnode1")
    assert refused == "OwnerNeedsForce: node 'vnode1' belongs to alice; take it over with --force"
    boot = platform.spec("vnode1").boot
    answer = platform.call("bob", "acquire_nodes", "vnode1", force=True)
    assert answer["notes"] == ["vnode1: it boots image default now (was: debian)"]
    assert "node=vnode1 from=alice by=bob" in caplog.text
    assert (platform.view("vnode1")["owner"], platform.spec("vnode1").boot) == ("bob", boot + 1)
    wait_until(lambda: any(spec.owner == "bob" for spec in platform.vmrunner.specs))
    platform.call("bob", "release_nodes", "vnode1")
    node = platform.view("vnode1")
    assert (node["owner"], node["image"], node["state"]) == (FREE, "default", DELAYING)
    assert platform.refusal("bob", "release_nodes", "vnode1") == "Conflict: node 'vnode1' is free already"
    assert platform.call("bob", "acquire_nodes", "free-nodes")["nodes"][0]["owner"] == "bob"


def test_all_or_nothing_over_several_nodes(platform):
    platform.call("alice", "create_nodes", ["a1", "a2"])
    platform.call("bob", "create_nodes", ["b1"])
    boots = {name: platform.spec(name).boot for name in ("a1", "a2", "b1")}
    refused = platform.refusal("alice", "reboot_nodes", "a1,b1,a2")
    assert refused == "NotOwner: node 'b1' belongs to bob"
    assert "no node 'zz'" in platform.refusal("alice", "reboot_nodes", "a1,zz,yy")
    assert {name: platform.spec(name).boot for name in boots} == boots


def test_node_sets(platform):
    platform.call("alice", "create_nodes", ["a2", "a1"])
    platform.call("bob", "create_nodes", ["b1"])

    def names(user, text):
        return [node["name"] for node in platform.call(user, "get_nodes", text)]

    assert names("alice", "my-nodes") == ["a1", "a2"]
    assert names("alice", "b1,my-nodes,B1") == ["b1", "a1", "a2"]
    assert names("bob", "all-nodes") == ["a1", "a2", "b1"]
    assert names("bob", "free-nodes") == []
    assert "NotFound: no node in 'free-nodes'" in platform.refusal("bob", "acquire_nodes", "free-nodes")
    refused = platform.refusal("bob", "get_nodes", "zzz,a11,a1")
    assert refused == "NotFound: no node 'zzz'\nno node 'a11' (did you mean a1?)"


def test_network_belongs_to_its_owner_and_macs_are_for_good(platform):
    for user, name in (("alice", "a1"), ("alice", "a2"), ("bob", "b1")):
        platform.call(user, "create_nodes", [name], settings=["networks=walt-net,home-net"])
    (a1, a2, b1) = (platform.spec(name).interfaces for name in ("a1", "a2", "b1"))
    assert [one.slot for one in a1] == [2, 3] and a1[0].network.id == nodes.WALT_NET_ID
    assert a1[1].network == a2[1].network != b1[1].network
    assert (a1[1].network.owner, b1[1].network.owner) == ("alice", "bob")
    platform.call("alice", "configure_nodes", "a1", ["networks=walt-net"])
    platform.call("alice", "configure_nodes", "a1", ["networks=home-net,walt-net"])
    back = platform.spec("a1").interfaces
    assert [one.mac for one in back] == [a1[1].mac, a1[0].mac] and [one.slot for one in back] == [2, 3]
    platform.call("bob", "acquire_nodes", "a1", force=True)
    taken = platform.spec("a1").interfaces
    assert taken[0].network == b1[1].network and taken[0].mac == a1[1].mac


def test_freed_nodes_meet_in_no_network(platform):
    platform.call("alice", "create_nodes", ["a1"], settings=["networks=walt-net[lat=1ms],home-net"])
    answer = platform.call("alice", "release_nodes", "a1")
    assert answer["notes"] == ["a1: networks=walt-net now (was: walt-net[lat=1ms],home-net)"]
    (interface,) = platform.spec("a1").interfaces
    assert interface.network.id == nodes.WALT_NET_ID and not interface.link.shapes


AUTHORIZED = [
    (nodes.PING, True, True),
    (nodes.WATCH_CONSOLE, False, True),
    (nodes.USE_CONSOLE, False, False),
    (nodes.LOG_IN, False, False),
    (nodes.CONNECT, False, False),
    (nodes.CAPTURE, False, False),
    (nodes.SAVE, False, False),
]


def test_authorized_is_every_action():
    assert {action for action, _, _ in AUTHORIZED} == set(nodes.ACTIONS)


@pytest.mark.parametrize(("action", "if_of_another", "if_free"), AUTHORIZED)
def test_authorize(platform, action, if_of_another, if_free):
    def allowed(user):
        try:
            return platform.bus.call("nodes", "authorize", user=user, name="VNODE1", action=action)
        except WaltError as error:
            return type(error).__name__

    platform.call("alice", "create_nodes", ["vnode1"])
    target = allowed("alice")
    assert (target["name"], target["owner"], target["host"], target["ip"]) == ("vnode1", "alice", HOST, "10.77.0.2")
    assert (allowed("bob") != "NotOwner") is if_of_another
    platform.call("alice", "release_nodes", "vnode1")
    assert (allowed("bob") != "NotOwner") is if_free


def test_authorize_refuses_what_it_does_not_know(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    with pytest.raises(NotFound, match="no node 'vnode'"):
        platform.bus.call("nodes", "authorize", user="alice", name="vnode", action=nodes.LOG_IN)
    with pytest.raises(WaltError, match="'fly' is not an action"):
        platform.bus.call("nodes", "authorize", user="alice", name="vnode1", action="fly")


def test_rename(platform):
    platform.call("alice", "create_nodes", ["vnode1", "vnode2"])
    platform.call("bob", "create_nodes", ["b1"])
    before = platform.spec("vnode1")
    answer = platform.call("alice", "rename_node", "VNODE1", "Web-1")
    assert answer["notes"] == ["web-1: its own host name changes at the next boot (walt node reboot web-1)"]
    after = platform.spec("web-1")
    assert (after.id, after.boot, after.version, after.ip) == (before.id, before.boot, before.version + 1, before.ip)
    wait_until(lambda: after in platform.vmrunner.specs)
    assert "no node 'vnode1'" in platform.refusal("alice", "get_nodes", "vnode1")
    for name, refused in (
        ("web-1", "Conflict: node 'web-1' has this name already"),
        ("vnode2", "Conflict: the name 'vnode2' is taken by a node of alice"),
        ("B1", "Conflict: the name 'b1' is taken by a node of bob"),
    ):
        assert platform.refusal("alice", "rename_node", "web-1", name) == refused
    assert platform.refusal("alice", "rename_node", "nobody", "x").startswith("NotFound")
    assert platform.call("bob", "create_nodes", ["vnode1"])["nodes"][0]["name"] == "vnode1"


@pytest.mark.parametrize("takeover", list(Takeover))
def test_fault_s27_who_takes_over_is_the_operators_to_say(platform, monkeypatch, takeover):
    platform.call("alice", "create_nodes", ["vnode1"])
    monkeypatch.setattr(platform.app, "takeover", takeover)
    monkeypatch.setattr(platform.app.accounts, "is_administrator", lambda name: name == "bob")
    assert (
        platform.refusal("bob", "acquire_nodes", "vnode1")
        == {
            Takeover.ALL: "OwnerNeedsForce: node 'vnode1' belongs to alice; take it over with --force",
            Takeover.ADMINISTRATORS: (
                "OwnerNeedsForce: node 'vnode1' belongs to alice; an administrator may take it over with --force"
            ),
            Takeover.NOBODY: "NotOwner: node 'vnode1' belongs to alice",
        }[takeover]
    )
    if takeover is Takeover.NOBODY:
        assert "Denied: node 'vnode1' belongs to alice; this platform does not let you take it over" in (
            platform.refusal("bob", "acquire_nodes", "vnode1", force=True)
        )
        return
    assert platform.call("bob", "acquire_nodes", "vnode1", force=True)["nodes"][0]["owner"] == "bob"
    if takeover is Takeover.ADMINISTRATORS:
        assert platform.refusal("alice", "acquire_nodes", "vnode1", force=True).startswith("Denied")
        platform.call("bob", "release_nodes", "vnode1")
        platform.call("alice", "acquire_nodes", "vnode1", force=True)  # a free node is for all
