"""The trash as administrators have it: what is in it, back to a node, away for good."""

from __future__ import annotations

import pytest

from tests.service.nodes.people import account_of, do
from walt.contracts.errors import Conflict, Denied, NotFound
from walt.contracts.vmrunner import TrashedDisk

DISK = TrashedDisk("disk-4711", "old", "bea", "b1", 4711, "ext4", 2 * 10**9, 4096, 1e9, 3600.0)
PERSIST = TrashedDisk("persist-0a", "old", "bea", "b1", size_bytes=10**9, used_bytes=4096, at=1e9, left_s=60.0)


@pytest.fixture
def trash(service):
    """Of the host: {id: disk}."""
    service.vmrunner.trash.update({one.id: one for one in (DISK, PERSIST)})
    yield service.vmrunner.trash
    service.vmrunner.trash.clear()


@pytest.fixture
def bea(admin, login):
    return login("bea", do(admin, "add_user", name="bea")["password"])


def disks_of(service, name):
    with service.app.transaction() as registry:
        return [(one.id, one.size_bytes, one.template) for one in registry.named(name).disks]


def test_it_is_shown_to_administrators_alone(admin, bea, trash):
    assert [(one["id"], one["what"], one["owner"], one["left_s"]) for one in do(admin, "get_trash")] == [
        ("disk-4711", "2G[template=ext4]", "bea", 3600.0),
        ("persist-0a", "/persist", "bea", 60.0),
    ]
    for method, arguments in (("get_trash", {}), ("empty_trash", {}), ("restore_trash", {"disk": "d", "node": "n"})):
        with pytest.raises(Denied):
            do(bea, method, **arguments)


def test_a_disk_becomes_the_last_one_of_a_node(service, admin, bea, trash):
    do(bea, "create_nodes", names=["one"], settings=["disks=1G"])
    changed = do(admin, "restore_trash", disk="disk-4711", node="one")
    assert changed["nodes"][0]["config"]["disks"] == "1G,2G[template=ext4]"
    assert changed["notes"] == ["one gets it at its next boot (walt node reboot one)"]
    assert disks_of(service, "one")[1:] == [(4711, 2 * 10**9, "ext4")]
    assert trash["disk-4711"].for_node and do(admin, "get_trash")[0]["restored_to"] == "one"
    assert [one["kind"] for one in do(bea, "get_events", selection="one")] == ["create", "restore"]
    with pytest.raises(Conflict, match="'disk-4711' is a disk of a node again"):
        do(admin, "restore_trash", disk="disk-4711", node="one")
    do(bea, "configure_nodes", selection="one", settings=["disks=2G[template=ext4]"])
    assert disks_of(service, "one") == [(4711, 2 * 10**9, "ext4")], "it is a disk like any other"


def test_a_persist_is_kept_for_the_node_and_its_owner(service, admin, bea, trash):
    do(bea, "create_nodes", names=["one"])
    before = disks_of(service, "one")
    do(admin, "restore_trash", disk="persist-0a", node="one")
    assert trash["persist-0a"].for_account == account_of(service, "bea") and disks_of(service, "one") == before


def test_what_cannot_be_is_refused_and_changes_nothing(service, admin, bea, trash):
    do(bea, "create_nodes", names=["one", "full"], settings=["disks=" + ",".join(["1M"] * 26)])
    do(bea, "release_nodes", selection="one", force=True)
    for disk, node, error in (
        ("disk-9", "one", NotFound("'disk-9' is not in the trash (walt trash show)")),
        ("disk-4711", "nobodys", NotFound("no node 'nobodys'")),
        ("disk-4711", "full", Conflict("full has 26 disks; allowed: at most 26")),
        ("persist-0a", "one", Conflict("one is free and has no /persist; allowed: a node that has an owner")),
    ):
        with pytest.raises(type(error)) as refused:
            do(admin, "restore_trash", disk=disk, node=node)
        assert str(refused.value).startswith(str(error))
    assert not any(one.for_node for one in trash.values())


def test_what_is_emptied_is_gone_and_what_is_to_be_restored_stays(admin, bea, trash):
    do(bea, "create_nodes", names=["one"])
    do(admin, "restore_trash", disk="disk-4711", node="one")
    with pytest.raises(NotFound, match="'other' is not in the trash"):
        do(admin, "empty_trash", disks=["persist-0a", "other"])
    assert do(admin, "empty_trash") == ["persist-0a"] and list(trash) == ["disk-4711"]
    assert do(admin, "empty_trash", disks=["disk-4711"]) == ["disk-4711"] and not trash
