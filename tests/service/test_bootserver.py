"""bootserver on a real RabbitMQ, its pages over real HTTP; a tiny image, and a network whose answers the test gives."""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import os
import socket
import struct
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import eventlet
import pytest
from nameko.containers import ServiceContainer
from nameko.events import event_handler
from nameko.standalone.events import event_dispatcher
from nameko.web.server import HttpOnlyProtocol

from cli.client import Client
from cli.configuration import Configuration
from services.bootserver import boots, dnsping, initrd, nfsping, pages, persist, plans, saving, watch, web
from services.bootserver.service import BootServer
from services.contracts import bootserver, nodes, wire
from services.contracts.bootserver import BootPlan, BootRequest, NodeAccess, NodeBooted, NodeCopying
from services.contracts.errors import Denied, Failed, NotFound, NotOwner
from services.contracts.vmrunner import BOOTED
from services.kit import peers
from services.kit.entrypoints import internal

VERSION = "6.1-test"
KERNEL = b"kernel" * 1_000_000
SERVER, NODE_IP = "127.0.0.1", "127.0.0.9"
PORT = 18080
WANTED = nodes.NodeWanted(
    7, "vnode1", "lab", "alice", nodes.POWER_ON, 1, 1, "default", NODE_IP, 4, 2**29, 0, 180, 9, ()
)
REQUEST = BootRequest(7, "vnode1", 1, "52:54:00:00:00:07", NODE_IP, "default", 4)


class Listener:
    name = "listener"
    heard: list[NodeBooted] = []

    copying: list[NodeCopying] = []

    @event_handler(bootserver.SERVICE, bootserver.NODE_BOOTED)
    def on_node_booted(self, payload):
        self.heard.append(wire.load(NodeBooted, payload))

    @event_handler(bootserver.SERVICE, bootserver.NODE_COPYING)
    def on_node_copying(self, payload):
        self.copying.append(wire.load(NodeCopying, payload))


class Network:
    """What the network answers: why NFS does not, or does not export ('' when it does), whether the node's ssh server
    greets."""

    nfs_fault = ""
    export_fault = ""
    dns_fault = ""
    greeting = False


@pytest.fixture
def network(monkeypatch):
    answers = Network()
    monkeypatch.setattr(
        nfsping, "ping", lambda address, paths: answers.nfs_fault or paths and answers.export_fault or ""
    )
    monkeypatch.setattr(dnsping, "ping", lambda address, name: answers.dns_fault)
    monkeypatch.setattr(watch, "greets", lambda address: address == NODE_IP and answers.greeting)
    return answers


@pytest.fixture
def images(tmp_path):
    """A store with one image that has a kernel, its modules, and nothing else."""
    tree = tmp_path / "images" / "tiny-1"
    home = tree / "lib/modules" / VERSION
    home.mkdir(parents=True)
    (tree / "boot").mkdir()
    (tree / f"boot/vmlinuz-{VERSION}").write_bytes(KERNEL)
    (home / "modules.dep").write_text("".join(f"{name}.ko:\n" for name in initrd.MODULES))
    (home / "modules.builtin").write_text("")
    for name in initrd.MODULES:
        (home / f"{name}.ko").write_bytes(name.encode())
    return tmp_path / "images"


class Process:
    """bootserver as its process would be: `restart` starts it anew on the same state."""

    def __init__(self, uri):
        self._uri = uri
        self._start()

    def _start(self):
        config = {"AMQP_URI": self._uri, "WEB_SERVER_ADDRESS": f"{SERVER}:{PORT}"}
        self._container = ServiceContainer(BootServer, config)
        self._container.start()

    def restart(self):
        self._container.stop()
        self._start()

    def stop(self):
        self._container.stop()


@pytest.fixture(scope="module")
def listener(amqp_uri):
    """For all tests, since it takes 2 s to stop."""
    container = ServiceContainer(Listener, {"AMQP_URI": amqp_uri})
    container.start()
    yield
    container.stop()


@pytest.fixture
def process(amqp_uri, listener, images, network, tmp_path, monkeypatch):
    monkeypatch.setenv("WALT_IMAGES_DIR", str(images))
    monkeypatch.setenv("WALT_PLATFORM_IMAGES", "default=tiny-1")
    monkeypatch.setenv("WALT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("WALT_SUBNET", "127.0.0.0/8")
    monkeypatch.setenv("WALT_HTTP_ADDRESS", f"{SERVER}:{PORT}")
    hear_the_last(amqp_uri)
    process = Process(amqp_uri)
    yield process
    process.stop()


def hear_the_last(uri):
    """What an earlier process had announced belongs to no later test: events of one kind come in order."""
    last = NodeBooted(0, 0, 0.0)
    event_dispatcher({"AMQP_URI": uri})(bootserver.SERVICE, bootserver.NODE_BOOTED, wire.dump(last))
    wait_for(lambda: last in Listener.heard)
    Listener.heard.clear()


def call(method, **arguments):
    return peers.call(bootserver.SERVICE, method, **arguments)


def publish(request=REQUEST):
    return wire.load(BootPlan, call("publish_boot", request=wire.dump(request)))


def fetch(path, *, source="127.0.0.1", method="GET", headers=None):
    connection = http.client.HTTPConnection(SERVER, PORT, timeout=5, source_address=(source, 0))
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def wait_for(condition, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be in time"
        eventlet.sleep(0.05)


def test_published_boot_is_served_whole(process, images):
    plan = publish()
    assert plan == publish()
    assert plan.script_url == f"http://{SERVER}:{PORT}/boot/7/script.ipxe"
    script = fetch("/boot/7/script.ipxe")[2].decode()
    kernel, loaded = [line.split()[1] for line in script.splitlines() if line.startswith(("kernel", "initrd"))][::-1]
    for url, content in ((kernel, KERNEL), (loaded, b"070701")):
        path = url.partition(f":{PORT}")[2]
        status, headers, body = fetch(path)
        assert (status, body[: len(content)]) == (200, content)
        assert headers["ETag"].strip('"') in path
        assert fetch(path, headers={"If-None-Match": headers["ETag"]})[0] == 304
        status, headers, nothing = fetch(path, method="HEAD")
        assert (status, int(headers["Content-Length"]), nothing) == (200, len(body), b"")


def test_seed_is_served_to_its_node_only(process):
    publish()
    assert fetch("/boot/7/script.ipxe", source="127.0.0.8")[0] == 403
    assert fetch("/boot/7/script.ipxe", source=NODE_IP)[0] == 200
    assert fetch("/boot/7/seed.tar")[0] == 403
    status, _, body = fetch("/boot/7/seed.tar", source=NODE_IP)
    assert status == 200
    access = wire.load(NodeAccess, call("open_access", node_id=7))
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        host_key = tar.extractfile("etc/ssh/ssh_host_ed25519_key.pub").read().decode()
    assert host_key.startswith(f"{access.host_key} ")
    assert (access.ip, access.user) == (NODE_IP, "root")
    assert "OPENSSH PRIVATE KEY" in access.private_key


def test_image_is_served_to_its_node_as_a_tar(process, images, monkeypatch):
    monkeypatch.setattr(pages, "TELL_EVERY_S", 0)
    Listener.copying.clear()
    publish(replace(REQUEST, run=4))
    assert fetch("/boot/7/image.tar")[0] == 403
    status, _, body = fetch("/boot/7/image.tar", source=NODE_IP)
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        assert tar.extractfile(f"./boot/vmlinuz-{VERSION}").read() == KERNEL
        assert {member.name for member in tar if member.isfile()} == {
            f"./{path.relative_to(images / 'tiny-1')}" for path in images.rglob("*") if path.is_file()
        }
    wait_for(lambda: NodeCopying(7, 4) in Listener.copying)


def test_image_that_cannot_be_read_to_its_end_is_sent_without_one(process, monkeypatch, caplog):
    def broken(argv):
        yield bytes(2**16)
        raise Failed("tar: status 2")

    monkeypatch.setattr(pages, "stream", broken)
    publish()
    with pytest.raises(http.client.IncompleteRead):
        fetch("/boot/7/image.tar", source=NODE_IP)
    assert "vnode1 is sent no whole image default: tar: status 2" in caplog.text


def test_persist_is_exported_to_the_node_of_its_owner_only(process, tmp_path, amqp_uri):
    state = tmp_path / "state/bootserver"
    folder = state / "persist/7/alice"

    def exported():
        return [(one.node_id, one.owner) for one in persist.load_exports(persist.exports_file(state)).all if one.ip]

    publish()
    assert exported() == []
    publish(replace(REQUEST, owner="alice"))
    assert exported() == [(7, "alice")]
    assert call("persist_bytes", node_id=7) == {}
    (folder / "file").write_text("a" * 5000)
    assert call("persist_bytes", node_id=7)["alice"] >= 5000
    publish(replace(REQUEST, run=2, owner="bob"))
    assert exported() == [(7, "bob")] and (folder / "file").exists()
    assert list(call("persist_bytes", node_id=7)) == ["alice"]
    publish(replace(REQUEST, run=3))
    assert exported() == []
    event_dispatcher({"AMQP_URI": amqp_uri})(
        nodes.SERVICE, nodes.NODE_REMOVED, wire.dump(nodes.NodeRemoved(7, "vnode1", "local"))
    )
    wait_for(lambda: not folder.parent.exists())


def test_image_with_a_boot_script_of_its_own_is_served_to_its_machine(process, images):
    own = images / "tiny-1/boot" / bootserver.MODEL
    own.mkdir()
    (own / "start.ipxe").write_text("#!ipxe\nchain /more.ipxe\n")
    (own / "kernel").symlink_to(f"../vmlinuz-{VERSION}")
    (own / "secret").symlink_to("/etc/passwd")
    publish()
    assert f"chain http://${{next-server}}:{PORT}/start.ipxe" in fetch("/boot/7/script.ipxe")[2].decode()
    for path, content in (("/start.ipxe", b"#!ipxe"), ("/boot/start.ipxe", b"#!ipxe"), ("/kernel", KERNEL)):
        status, headers, body = fetch(path, source=NODE_IP)
        assert (status, body[: len(content)]) == (200, content)
        assert fetch(f"{path}?node_ip={NODE_IP}")[0] == 200  # vmrunner, from the server's own address
        assert fetch(path, source=NODE_IP, headers={"If-None-Match": headers["ETag"]})[0] == 304
    for path in ("/secret", "/../../../../../../etc/passwd", "/none", "/boot/lib/modules"):
        assert fetch(path, source=NODE_IP)[0] in (400, 404), path
    assert fetch(f"/start.ipxe?node_ip={NODE_IP}", source="127.0.0.8")[0] == 403
    assert fetch("/start.ipxe", source="127.0.0.8")[0] == 404


def test_client_that_hangs_up_does_no_harm(process):
    """A machine that is ended while it loads its kernel."""
    publish()
    script = fetch("/boot/7/script.ipxe")[2].decode()
    path = next(line.split()[1] for line in script.splitlines() if line.startswith("kernel")).partition(f":{PORT}")[2]
    for _ in range(3):
        with socket.create_connection((SERVER, PORT)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset at close
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.recv(1000)
    eventlet.sleep(0.3)
    assert fetch(path)[0] == 200
    assert publish().ip == NODE_IP


VANISHED = "127.0.0.6"  # the address of a machine that was switched off while the kernel still tried to reach it


@pytest.fixture
def vanishing(monkeypatch):
    handle = HttpOnlyProtocol.handle

    def handle_or_fail(protocol):
        if protocol.client_address[0] == VANISHED:
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        handle(protocol)

    monkeypatch.setattr(HttpOnlyProtocol, "handle", handle_or_fail)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(web, "STALL_LIMIT_S", 0.5)


def connect(source, request=b""):
    connection = socket.create_connection((SERVER, PORT), 20, (source, 0))
    connection.sendall(request)
    return connection


def until_closed(connection):
    """What is heard before the server closes it."""
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(2**16):
            heard += piece
    return heard


def test_what_one_client_does_is_felt_by_no_other(vanishing, process):
    """Garbage, too much of everything, a machine that vanishes, too many connections."""
    publish()
    for bad in (
        b"\0" * 10_000,
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000,
        b"GET / HTTP/9.9\r\nHost: \xff\r\n\r\n",
        b"GET /boot/" + b"9" * 5000 + b"/seed.tar HTTP/1.0\r\n\r\n",
        b"GET /%00/" + b"a" * 300 + b" HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    ):
        with contextlib.suppress(OSError), connect("127.0.0.7", bad) as connection:
            connection.shutdown(socket.SHUT_WR)
            until_closed(connection)
    assert until_closed(connect(VANISHED)) == b""
    held = [connect("127.0.0.7", b"GET /boot/7") for _ in range(web.MAX_CONNECTIONS)]
    assert until_closed(connect("127.0.0.7", b"GET /boot/7/script.ipxe HTTP/1.0\r\n\r\n")) == b""
    many = [connect(SERVER) for _ in range(web.MAX_CONNECTIONS + 1)]  # as vmrunner may
    assert fetch("/boot/7/script.ipxe")[0] == fetch("/boot/7/seed.tar", source=NODE_IP)[0] == 200
    for connection in (*held, *many):
        connection.close()
    wait_for(lambda: until_closed(connect("127.0.0.7", b"GET / HTTP/1.0\r\n\r\n")) != b"")
    assert publish().ip == NODE_IP


def test_a_client_that_stalls_is_cut_off(impatient, process, monkeypatch):
    """In its request, and while it is served an image, of which it takes no more."""
    ended = []

    def endless(argv):
        try:
            while True:
                yield bytes(2**16)
        finally:
            ended.append(argv[0])

    monkeypatch.setattr(pages, "stream", endless)
    publish()
    assert until_closed(connect("127.0.0.7", b"GET /boot/7")) == b""
    with connect(NODE_IP, b"GET /boot/7/image.tar HTTP/1.1\r\n\r\n"):
        wait_for(lambda: ended == ["tar"])


def test_unknown_things_are_not_found(process):
    assert fetch("/boot/8/script.ipxe")[0] == 404
    assert fetch(f"/boot/files/{'0' * 64}/vmlinuz")[0] == 404
    with pytest.raises(NotFound, match="node 8"):
        call("open_access", node_id=8)
    with pytest.raises(NotFound, match="'other'"):
        call("check_image", name="other")


def test_images(process):
    (view,) = call("list_images")
    assert view == call("check_image", name="default")
    assert (view["name"], view["kernel"], view["owner"]) == ("default", VERSION, "")
    assert view["size_bytes"] > 600_000


def test_booted_is_announced_once_per_boot(process, network):
    publish()
    eventlet.sleep(0.5)
    assert Listener.heard == []
    network.greeting = True
    wait_for(lambda: Listener.heard)
    publish()  # the same message again
    eventlet.sleep(0.5)
    assert [(event.node_id, event.run) for event in Listener.heard] == [(7, 1)]
    publish(BootRequest(**{**vars(REQUEST), "run": 2}))
    wait_for(lambda: len(Listener.heard) == 2)
    assert Listener.heard[1].run == 2


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_boot_is_told_though_the_disk_is_full(process, network, monkeypatch):
    publish()
    monkeypatch.setattr(plans, "write_atomically", full_disk)
    network.greeting = True
    wait_for(lambda: Listener.heard)


def test_restart_keeps_plan_keys_and_watch(process, network):
    publish()
    script, access = fetch("/boot/7/script.ipxe")[2], call("open_access", node_id=7)
    kernel = next(line.split()[1] for line in script.decode().splitlines() if line.startswith("kernel"))
    process.restart()
    assert fetch(kernel.partition(f":{PORT}")[2])[0] == 200  # before anyone asks for the script
    assert fetch("/boot/7/script.ipxe")[2] == script
    assert call("open_access", node_id=7) == access
    network.greeting = True
    wait_for(lambda: Listener.heard)
    process.restart()
    wait_for(lambda: len(Listener.heard) == 2)  # the broker may have been away the first time
    assert Listener.heard[0] == Listener.heard[1]


def test_dead_nfs_server_is_said_and_nothing_published(process, network):
    network.nfs_fault = "Connection refused"
    with pytest.raises(Failed, match="the NFS server does not answer.*Connection refused"):
        publish()
    assert fetch("/boot/7/script.ipxe")[0] == 404
    checks = {check["subject"]: check for check in call("diagnose")}
    assert checks["NFS server"]["status"] == "fail" and checks["NFS server"]["mend"]
    network.nfs_fault = ""
    publish()
    assert {check["status"] for check in call("diagnose")} == {"ok"}


def test_image_that_is_not_exported_is_said_and_not_watched(process, network, monkeypatch):
    monkeypatch.setattr(boots, "EXPORT_LIMIT_S", 0.3)
    network.export_fault = "/images/tiny-1 is not exported: no such folder"
    network.greeting = True
    with pytest.raises(Failed, match="does not export image 'default' .*/images/tiny-1 is not exported"):
        publish()
    (check,) = [check for check in call("diagnose") if check["subject"] == "NFS server"]
    assert check["status"] == "fail" and network.export_fault in check["found"]
    assert Listener.heard == []
    network.export_fault = ""
    publish()
    wait_for(lambda: Listener.heard)


def test_removed_node_is_forgotten(process, amqp_uri, network):
    publish()
    old = call("open_access", node_id=7)["host_key"]
    for _ in range(2):
        event_dispatcher({"AMQP_URI": amqp_uri})(
            nodes.SERVICE, nodes.NODE_REMOVED, wire.dump(nodes.NodeRemoved(7, "vnode1", "local"))
        )
    wait_for(lambda: fetch("/boot/7/script.ipxe")[0] == 404)
    network.greeting = True
    eventlet.sleep(0.5)
    assert Listener.heard == []
    network.greeting = False
    publish()
    assert call("open_access", node_id=7)["host_key"] != old


def test_removal_by_another_registry_is_one_warning(process, amqp_uri, tmp_path, caplog):
    class Nodes:
        name = nodes.SERVICE

        @internal
        def registry_id(self):
            return "r2"

    publish()
    (tmp_path / "state/bootserver/registry").write_text("r1")
    container = ServiceContainer(Nodes, {"AMQP_URI": amqp_uri})
    container.start()
    try:
        removed = wire.dump(nodes.NodeRemoved(7, "vnode1", "local"))
        event_dispatcher({"AMQP_URI": amqp_uri})(nodes.SERVICE, nodes.NODE_REMOVED, removed)
        wait_for(lambda: "the removal of vnode1 is let be: " in caplog.text)
        eventlet.sleep(0.3)
        (told,) = [one for one in caplog.records if "let be" in one.getMessage() or one.exc_info]
        assert told.levelname == "WARNING" and "has registry r2 now" in told.getMessage()
        assert fetch("/boot/7/script.ipxe")[0] == 200
    finally:
        container.stop()


def test_node_whose_removal_was_not_heard_is_forgotten(process, amqp_uri, tmp_path):
    class Nodes:
        name = nodes.SERVICE

        @internal
        def registry_id(self):
            return "r1"

        @internal
        def wanted_everywhere(self):
            return [wire.dump(WANTED)]

    publish()
    publish(replace(REQUEST, node_id=8))
    container = ServiceContainer(Nodes, {"AMQP_URI": amqp_uri})
    container.start()
    try:
        process.restart()
        wait_for(lambda: fetch("/boot/8/script.ipxe")[0] == 404)
        assert fetch("/boot/7/script.ipxe")[0] == 200
        wait_for(lambda: not list((tmp_path / "state/bootserver/keys").glob("node-8*")))
    finally:
        container.stop()


@pytest.fixture
def as_user(user_uri):
    """as_user("alice", "save_image", …): a public call by that user's own account."""
    clients = []

    def call(user, method, **arguments):
        uri = urlsplit(user_uri(user))
        broker = f"{uri.hostname}:{uri.port}"
        client = Client(lambda: Configuration(user, uri.password, broker, uri.path[1:], Path("/nowhere")))
        clients.append(client)
        return client.call(bootserver.SERVICE, method, **arguments)

    yield call
    for client in clients:
        client.close()


def test_users_save_and_see_their_own_images(process, amqp_uri, as_user, monkeypatch):
    class Nodes:
        name = nodes.SERVICE

        @internal
        def authorize(self, user, name, action):
            if (user, name, action) != ("alice", "vnode1", nodes.SAVE):
                raise NotOwner(f"{name} is alice's")
            return wire.dump(nodes.NodeTarget(7, name, user, "lab", NODE_IP, BOOTED))

        @internal
        def wanted_everywhere(self):
            return [wire.dump(WANTED)]

    def nothing_changed(source, place):
        with tarfile.open(place / "changes.tar", "w") as tar:
            for name in ("directories", "names"):
                tar.addfile(tarfile.TarInfo(name))

    monkeypatch.setattr(saving, "fetch", nothing_changed)
    publish()
    container = ServiceContainer(Nodes, {"AMQP_URI": amqp_uri})
    container.start()
    try:
        with pytest.raises(NotOwner):
            as_user("bob", "save_image", node="vnode1", name="exp1")
        job = as_user("alice", "save_image", node="vnode1", name="exp1")
        wait_for(lambda: as_user("alice", "follow_job", job=job)["done"])
        assert as_user("alice", "follow_job", job=job)["changed"]["image"]["name"] == "alice/exp1"
    finally:
        container.stop()
    assert [image["name"] for image in as_user("alice", "get_images")] == ["default", "alice/exp1"]
    assert [image["name"] for image in as_user("bob", "get_images")] == ["default"]
    assert call("check_image", name="exp1", user="alice")["owner"] == "alice"
    with pytest.raises(Denied):
        call("check_image", name="alice/exp1", user="bob")
    publish(replace(REQUEST, run=2, image="alice/exp1"))
    assert "/images/users/" in fetch("/boot/7/script.ipxe")[2].decode()
