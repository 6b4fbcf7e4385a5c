"""What a user may have: refused before anything changes, by every command that would give him more."""

from __future__ import annotations

import pytest

from tests.service.nodes.people import do
from walt.contracts.errors import Denied, InvalidRequest, LimitReached, NotFound


@pytest.fixture
def bea(admin, login):
    return login("bea", do(admin, "add_user", name="bea")["password"])


def allowed(reply):
    return reply["allowed"]


def names(person):
    return [one["name"] for one in do(person, "get_nodes", selection="all-nodes")]


def test_each_command_that_gives_more_is_refused_and_changes_nothing(admin, bea):
    do(admin, "set_limits", name="bea", limits=["nodes=2", "ram=1G", "disk=2G"])
    do(bea, "create_nodes", names=["one"], settings=["ram=768M", "disks=1G"])
    for method, arguments, fault in (
        ("create_nodes", {"names": ["two", "three"]}, "nodes: bea has 1, and 2 more would pass the limit; allowed: 2 "),
        ("create_nodes", {"names": ["two"]}, "ram: bea has 768M, and 512M more would pass the limit; allowed: 1G "),
        ("create_nodes", {"names": ["two"], "settings": ["ram=64M", "disks=1M"]}, "disk: bea has 2G, and 1001M more "),
        ("configure_nodes", {"selection": "one", "settings": ["ram=1025M"]}, "ram: bea has 768M, and 257M more "),
        ("configure_nodes", {"selection": "one", "settings": ["disks=2G"]}, "disk: bea has 2G, and 1G more "),
    ):
        with pytest.raises(LimitReached, match=fault):
            do(bea, method, **arguments)
    (one,) = do(bea, "get_nodes", selection="all-nodes")
    assert (one["config"]["ram"], one["config"]["disks"]) == ("768M", "1G")
    assert do(bea, "get_use")["used"] == {
        "nodes": 1, "ram_bytes": 768 * 2**20, "disk_bytes": 2 * 10**9, "images": 0, "image_bytes": 0
    }  # fmt: skip


def test_nodes_that_are_acquired_count(admin, bea):
    do(admin, "create_nodes", names=["one", "two"])
    do(admin, "release_nodes", selection="one,two")
    do(admin, "set_limits", name="bea", limits=["nodes=1"])
    with pytest.raises(LimitReached, match="nodes: bea has 0, and 2 more would pass the limit; allowed: 1 "):
        do(bea, "acquire_nodes", selection="free-nodes")
    do(bea, "acquire_nodes", selection="one")
    do(bea, "release_nodes", selection="one")
    do(bea, "acquire_nodes", selection="two")


def test_administrators_begin_without_limits_and_users_with_those_of_all(admin, bea, login):
    assert set(allowed(do(admin, "get_use")).values()) == {None}
    zoe = login("zoe", do(admin, "add_user", name="zoe", administrator=True)["password"])
    assert set(allowed(do(zoe, "get_use")).values()) == {None}
    assert allowed(do(bea, "get_use"))["nodes"] == 20
    do(admin, "set_limits", name="bea", limits=["nodes=none"])
    assert allowed(do(bea, "get_use"))["nodes"] is None
    assert allowed(do(admin, "set_limits", name="bea", limits=["nodes=default"]))["nodes"] == 20


def test_limits_of_an_administrator_survive_the_next_set_up(admin, ensured):
    do(admin, "set_limits", name=admin.name, limits=["nodes=3"])
    ensured(admin.name, administrator=True)
    assert allowed(do(admin, "get_use"))["nodes"] == 3
    do(admin, "set_limits", name=admin.name, limits=["nodes=none"])


def test_limits_are_an_administrators_to_change_and_to_see(admin, bea):
    with pytest.raises(Denied, match="bea is not an administrator"):
        do(bea, "set_limits", name="bea", limits=["nodes=99"])
    with pytest.raises(Denied, match="bea is not an administrator"):
        do(bea, "get_use", name=admin.name)
    with pytest.raises(NotFound, match="no user 'eve'"):
        do(admin, "set_limits", name="eve", limits=["nodes=99"])
    with pytest.raises(NotFound, match="no user 'eve'"):
        do(admin, "get_use", name="eve")
    with pytest.raises(InvalidRequest, match="'nods' is not a limit"):
        do(admin, "set_limits", name="bea", limits=["nods=99"])


def lab(*nodes, settings=()):
    return {"name": "demo", "nodes": [{"name": one, "settings": list(settings)} for one in nodes]}


def test_limits_hold_for_labs_also_when_they_are_planned(admin, bea, service):
    do(admin, "set_limits", name="bea", limits=["nodes=2", "ram=1G"])
    for dry_run in (True, False):
        for document in (lab("a", "b", "c"), lab("a", settings=["ram=2G"])):
            with pytest.raises(LimitReached, match="would pass the limit"):
                do(bea, "apply_lab", document=document, dry_run=dry_run)
    do(bea, "apply_lab", document=lab("a", "b"))
    do(bea, "apply_lab", document=lab("c", "d"))  # two go, two come
    with service.app.transaction() as registry:
        account = registry.accounts.of("bea").id
    do(admin, "remove_user", name="bea", force=True)
    with service.app.transaction() as registry:
        assert registry.labs.of(account) == {} and {node.lab for node in registry.nodes()} == {"", "demo"}
