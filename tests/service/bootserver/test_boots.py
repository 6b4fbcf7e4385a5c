"""The life of a boot, from its publication until its node has booted or is removed; and the images that users see."""

from __future__ import annotations

import contextlib
import tarfile
from dataclasses import replace

import pytest

from services.bootserver.boot import boot_records
from services.bootserver.images import save_node
from services.bootserver.persist import export_files
from services.kit.bus.bus import BrokerBus
from tests.service.bootserver.world import NODE_IP, OTHER_IP, REQUEST, SPEC, full_disk
from tests.service.conftest import PASSWORD, SECOND
from tests.support.amqp_user import AmqpUser
from tests.support.image_tree import VERSION
from tests.support.wait import wait_until
from walt.contracts import bootserver, nodes
from walt.contracts.agent_rights import account_of_host
from walt.contracts.bootserver import BootRequest, NodeBooted
from walt.contracts.errors import Denied, Failed, NotFound, NotOwner
from walt.contracts.nodes import NodeRemoved

REMOVED = NodeRemoved(7, "vnode1", "lab", "r1")


MACHINE = replace(REQUEST, is_virtual=False, owner="alice", owner_account="a1", persist_bytes=64 * 10**6)


def test_a_machine_of_an_owner_has_his_disk_and_no_other(server, tmp_path, nodes_service):
    state = tmp_path / "state/bootserver"

    def used():
        return [(one.device, one.file, one.mac) for one in export_files.load_exports(state).all if one.mac]

    server.publish(replace(MACHINE, owner="", owner_account=""))
    assert used() == [] and server.call("persist_bytes", node_id=7) == {}
    assert "walt.persist" not in server.text("/boot/7/script.ipxe")
    server.publish(replace(MACHINE, run=2))
    assert used() == [("e1.0", "7/alice~a1.raw", REQUEST.mac)]
    assert "walt.persist=e1.0\n" in server.text("/boot/7/script.ipxe")
    assert server.call("persist_bytes", node_id=7)["alice"] > 0
    server.publish(replace(MACHINE, run=3, owner="bob", owner_account="b1"))
    assert used() == [("e2.0", "7/bob~b1.raw", REQUEST.mac)]
    assert set(server.call("persist_bytes", node_id=7)) == {"alice", "bob"}
    server.publish(replace(MACHINE, run=4, owner="", owner_account=""))
    assert used() == []
    nodes_service.remove(7)
    wait_until(lambda: not (state / "persist/7").exists(), 5)
    assert export_files.load_exports(state).all == ()


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


def test_dead_disk_server_is_reported_and_no_machine_that_needs_it_is_published(server, network):
    network.persist_fault = export_files.NOT_RUNNING
    with pytest.raises(Failed, match="the server of the disk for /persist of vnode1 does not run"):
        server.publish(MACHINE)
    assert server.status("/boot/7/script.ipxe") == 404
    checks = {check["subject"]: check for check in server.call("diagnose")}
    assert checks["disks of machines"]["status"] == "fail" and checks["disks of machines"]["fix"]
    network.persist_fault = ""
    server.publish(MACHINE)
    assert {check["status"] for check in server.call("diagnose")} == {"ok"}


@pytest.mark.parametrize(("server_of", "subject"), [("dns", "DNS server"), ("ntp", "time server")])
def test_a_silent_server_is_reported(server, network, server_of, subject):
    setattr(network, f"{server_of}_fault", "timed out")
    checks = {check["subject"]: check for check in server.call("diagnose")}
    assert checks[subject]["status"] == "fail" and "timed out" in checks[subject]["found"]


def test_a_node_without_a_network_disk_boots_without_the_disk_server(server, network):
    """Its root is a file that vmrunner fetches, its /persist a disk of the host."""
    network.persist_fault = export_files.NOT_RUNNING
    server.publish(replace(REQUEST, owner="alice", owner_account="a1", persist_is_disk=True))
    assert server.status("/boot/7/script.ipxe") == 200
    server.publish(replace(REQUEST, run=REQUEST.run + 1))


def test_fault_s1_an_image_whose_script_wants_a_file_server_is_refused(server, images):
    scripts = images / f"tiny-1/boot/{bootserver.MODEL}"
    scripts.mkdir()
    (scripts / "start.ipxe").write_text("#!ipxe\n# not root=/dev/nfs\nchain /more.ipxe\n")
    server.publish()
    (scripts / "more.ipxe").write_text("kernel /kernel rw root=/dev/nfs nfsroot=${server}:/fs\nboot\n")
    with pytest.raises(Failed, match="image 'default' wants its root over NFS .'root=/dev/nfs' in /boot/.*/more.ipxe"):
        server.publish(replace(REQUEST, run=2))


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
    assert server.status("/boot/7/script.ipxe") == server.status("/boot/8/script.ipxe", source=OTHER_IP) == 200


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


def bus_of_second(broker_port, vhost):
    account = f"{account_of_host(SECOND)}:{PASSWORD}"
    return contextlib.closing(BrokerBus(f"amqp://{account}@127.0.0.1:{broker_port}/{vhost}", f"vmrunner@{SECOND}"))


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("publish_boot", {"request": BootRequest.of(SPEC, 1)}),
        ("open_access", {"node_id": 7}),
        ("drop_persist_folder", {"node_id": 7, "owner": "alice", "account": "a1"}),
    ],
)
def test_an_agent_of_a_further_host_is_served_for_its_own_nodes_only(
    server, nodes_service, broker_port, vhost, method, arguments
):
    with bus_of_second(broker_port, vhost) as bus:
        for host, former in ((SPEC.host, ""), (SPEC.host, SECOND)):  # with its disks still there, too
            nodes_service.specs = {SPEC.id: replace(SPEC, host=host, moves_from=former)}
            with pytest.raises(Denied, match=f"node 7 is not on host '{SECOND}'"):
                bus.call("bootserver", method, **arguments)
        nodes_service.specs = {SPEC.id: replace(SPEC, host=SECOND)}
        server.publish()
        bus.call("bootserver", method, **arguments)


@pytest.mark.parametrize(
    "lie",
    [
        {"ip": OTHER_IP},
        {"mac": "52:54:00:00:00:09"},
        {"image": "bob/secret"},
        {"owner": "bob"},
        {"owner_account": "b1"},
        {"is_virtual": False},
    ],
)
def test_an_agent_of_a_further_host_boots_its_nodes_as_the_registry_has_them(
    server, nodes_service, broker_port, vhost, lie
):
    spec = replace(SPEC, host=SECOND)
    nodes_service.specs = {spec.id: spec}
    request = replace(BootRequest.of(spec, 1), **lie)
    with bus_of_second(broker_port, vhost) as bus, pytest.raises(Denied, match="is not that of its spec"):
        bus.call("bootserver", "publish_boot", request=request)
