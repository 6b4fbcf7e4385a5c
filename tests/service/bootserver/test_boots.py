"""The life of a boot, from its publication until its node has booted or is removed; and the images that users see."""

from __future__ import annotations

import tarfile
from dataclasses import replace

import pytest

from services.bootserver.boot import boot_records, boots
from services.bootserver.images import save_node
from services.bootserver.nfs import persist
from tests.service.bootserver.world import NODE_IP, OTHER_IP, REQUEST, SPEC, full_disk
from tests.support.amqp_user import AmqpUser
from tests.support.image_tree import VERSION
from tests.support.wait import wait_until
from walt.contracts import bootserver, nodes
from walt.contracts.bootserver import NodeBooted
from walt.contracts.errors import Denied, Failed, NotFound, NotOwner
from walt.contracts.nodes import NodeRemoved

REMOVED = NodeRemoved(7, "vnode1", "lab", "r1")


def test_persist_is_exported_to_the_node_of_its_owner_only(server, tmp_path, nodes_service):
    state = tmp_path / "state/bootserver"
    folder = state / "persist/7/alice"

    def exported():
        return [(one.node_id, one.owner) for one in persist.load_exports(persist.exports_file(state)).all if one.ip]

    server.publish()
    assert exported() == []
    server.publish(replace(REQUEST, owner="alice"))
    assert exported() == [(7, "alice")]
    assert server.call("persist_bytes", node_id=7) == {}
    (folder / "file").write_text("a" * 5000)
    assert server.call("persist_bytes", node_id=7)["alice"] >= 5000
    server.publish(replace(REQUEST, run=2, owner="bob"))
    assert exported() == [(7, "bob")] and (folder / "file").exists()
    assert list(server.call("persist_bytes", node_id=7)) == ["alice"]
    server.publish(replace(REQUEST, run=3))
    assert exported() == []
    nodes_service.remove(7)
    wait_until(lambda: not folder.parent.exists(), 5)


def test_unknown_things_are_not_found(server):
    with pytest.raises(NotFound, match="node 8"):
        server.call("open_access", node_id=8)
    with pytest.raises(NotFound, match="'other'"):
        server.call("check_image", name="other")


def test_images(server):
    view = server.call("check_image", name="default")
    assert (view["name"], view["kernel"], view["owner"]) == ("default", VERSION, "")
    assert view["size_bytes"] > 600_000


def test_booted_is_announced_once_per_boot(server, network, listener):
    server.publish()
    network.wait_for_probes(NODE_IP)
    assert listener.booted_so_far() == []
    network.answering = {NODE_IP}
    wait_until(lambda: listener.booted, 5)
    (first,) = listener.booted_so_far()
    assert first == NodeBooted(7, 1, first.at, NODE_IP)
    probes = len(network.probed)
    server.publish()  # the same message again
    server.call("diagnose")  # a watch would have begun to probe
    assert (len(network.probed), listener.booted_so_far()) == (probes, [first])
    server.publish(replace(REQUEST, run=2))
    wait_until(lambda: [event.run for event in listener.booted] == [1, 2], 5)


def test_boot_is_announced_though_the_disk_is_full(server, network, listener, monkeypatch):
    server.publish()
    monkeypatch.setattr(boot_records, "write_atomically", full_disk)
    network.answering = {NODE_IP}
    wait_until(lambda: listener.booted, 5)


def test_restart_keeps_record_keys_and_watch(server, network, listener):
    server.publish()
    script, access = server.text("/boot/7/script.ipxe"), server.call("open_access", node_id=7)
    server.restart()
    assert server.status(server.path_of("kernel", script)) == 200  # before anyone asks for the script
    assert server.text("/boot/7/script.ipxe") == script
    assert server.call("open_access", node_id=7) == access
    network.answering = {NODE_IP}
    wait_until(lambda: listener.booted, 5)
    server.restart()
    wait_until(lambda: len(listener.booted) == 2, 5)  # the broker may have been away the first time
    assert listener.booted[0] == listener.booted[1]


def test_dead_nfs_server_is_reported_and_nothing_is_published(server, network):
    network.nfs_fault = "Connection refused"
    with pytest.raises(Failed, match="the NFS server does not answer.*Connection refused"):
        server.publish(replace(REQUEST, owner="alice"))
    assert server.status("/boot/7/script.ipxe") == 404
    checks = {check["subject"]: check for check in server.call("diagnose")}
    assert checks["NFS server"]["status"] == "fail" and checks["NFS server"]["fix"]
    network.nfs_fault = ""
    server.publish(replace(REQUEST, owner="alice"))
    assert {check["status"] for check in server.call("diagnose")} == {"ok"}


def test_a_node_that_mounts_nothing_boots_without_the_nfs_server(server, network):
    """Its root is a file that vmrunner fetches, its /persist a disk."""
    network.nfs_fault = "Connection refused"
    server.publish(replace(REQUEST, owner="alice", owner_account="a1", persist_is_disk=True))
    assert server.status("/boot/7/script.ipxe") == 200
    server.publish(replace(REQUEST, run=REQUEST.run + 1))


def test_image_that_is_not_exported_is_reported_and_not_watched(server, images, network, listener, monkeypatch):
    script = images / f"tiny-1/boot/{bootserver.MODEL}/start.ipxe"  # by which it mounts its root from the NFS server
    script.parent.mkdir()
    script.write_text("#!ipxe\n")
    monkeypatch.setattr(boots, "EXPORT_LIMIT_S", 0.3)
    network.export_fault = "/images/tiny-1 is not exported: no such folder"
    network.answering = {NODE_IP}
    with pytest.raises(Failed, match="does not export image 'default' .*/images/tiny-1 is not exported"):
        server.publish()
    (check,) = [check for check in server.call("diagnose") if check["subject"] == "NFS server"]
    assert check["status"] == "fail" and network.export_fault in check["found"]
    assert (network.probed, listener.booted_so_far()) == ([], [])
    network.export_fault = ""
    server.publish()
    wait_until(lambda: listener.booted, 5)


def test_removed_node_is_forgotten(server, network, nodes_service, listener):
    server.publish()
    server.publish(replace(REQUEST, node_id=8, ip=OTHER_IP))
    old = server.call("open_access", node_id=7)["host_key"]
    for _ in range(2):
        nodes_service.announce(nodes.NODE_REMOVED, REMOVED)
    wait_until(lambda: server.status("/boot/7/script.ipxe") == 404, 5)
    network.answering = {NODE_IP}
    network.probed.clear()
    network.wait_for_probes(OTHER_IP)  # each node that is watched is probed as often
    assert NODE_IP not in network.probed
    assert listener.booted_so_far() == []
    network.answering = set()
    server.publish()
    assert server.call("open_access", node_id=7)["host_key"] != old


def test_removal_by_another_registry_is_one_warning(server, nodes_service, tmp_path, caplog):
    server.publish()
    server.publish(replace(REQUEST, node_id=8, ip=OTHER_IP))
    (tmp_path / "state/bootserver/registry").write_text("r1")
    nodes_service.registry = "r2"
    for removed in (REMOVED, NodeRemoved(8, "vnode8", "lab", "r2")):
        nodes_service.announce(nodes.NODE_REMOVED, replace(removed, registry="r2"))
        wait_until(lambda name=removed.name: f"the removal of {name} is ignored: " in caplog.text, 5)
    warnings = [one for one in caplog.records if "is ignored" in one.getMessage() or one.exc_info]
    assert len(warnings) == 2
    assert all(one.levelname == "WARNING" and "has registry r2 now" in one.getMessage() for one in warnings)
    assert server.status("/boot/7/script.ipxe") == server.status("/boot/8/script.ipxe") == 200


def test_node_whose_removal_was_not_heard_is_forgotten(server, tmp_path):
    server.publish()
    server.publish(replace(REQUEST, node_id=8))
    server.restart()
    wait_until(lambda: server.status("/boot/8/script.ipxe") == 404, 5)
    assert server.status("/boot/7/script.ipxe") == 200
    wait_until(lambda: not list((tmp_path / "state/bootserver/keys").glob("node-8*")), 5)


@pytest.fixture
def users(user_uri):
    users = [AmqpUser(user_uri(name)) for name in ("alice", "bob")]
    yield users
    for user in users:
        user.close()


def test_users_save_and_see_their_own_images(server, nodes_service, users, monkeypatch):
    alice, bob = users

    def nothing_changed(source, folder):
        with tarfile.open(folder / "changes.tar", "w") as tar:
            for name in ("directories", "names"):
                tar.addfile(tarfile.TarInfo(name))

    monkeypatch.setattr(save_node, "fetch", nothing_changed)
    nodes_service.specs = {7: replace(SPEC, owner="alice")}
    server.publish()
    with pytest.raises(NotOwner):
        bob.call("bootserver.save_image", node="vnode1", name="exp1")
    job = alice.call("bootserver.save_image", node="vnode1", name="exp1")
    wait_until(lambda: alice.call("bootserver.follow_job", job=job)["done"], 5)
    assert alice.call("bootserver.follow_job", job=job)["changed"]["image"]["name"] == "alice/exp1"
    assert [image["name"] for image in alice.call("bootserver.get_images")] == ["default", "alice/exp1"]
    assert [image["name"] for image in bob.call("bootserver.get_images")] == ["default"]
    account = nodes_service.accounts["alice"]
    assert server.call("check_image", name="exp1", user="alice", account=account)["owner"] == "alice"
    with pytest.raises(Denied):
        server.call("check_image", name="alice/exp1", user="bob", account=nodes_service.accounts["bob"])
    with pytest.raises(NotFound):
        server.call("check_image", name="exp1", user="alice", account="of another alice")
    with pytest.raises(NotFound):
        server.publish(replace(REQUEST, run=2, image="alice/exp1", owner="alice", owner_account="of another alice"))
    server.publish(replace(REQUEST, run=2, image="alice/exp1", owner="alice", owner_account=account))
    (folder,) = [word for word in server.text("/boot/7/script.ipxe").split() if word.startswith("walt.image=")]
    assert folder != "walt.image=tiny-1"
