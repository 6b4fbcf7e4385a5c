"""What bootserver serves over HTTP, to whom, and what clients that misbehave do to others."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import socket
import struct
import tarfile
from dataclasses import replace

import pytest
from eventlet.wsgi import HttpProtocol

from services.bootserver.app import BURST, BootserverApp
from services.bootserver.images.image_records import ImageRecord
from services.bootserver.images.store import ImageStore
from services.kit.web import pages
from tests.service.bootserver.world import NODE_IP, OTHER_IP, REQUEST, SERVER, until_closed
from tests.support.image_tree import VERSION, make_kernel
from tests.support.wait import wait_until
from walt.contracts import bootserver, serialization
from walt.contracts.bootserver import NodeAccess, NodeCopying

VANISHED, NEIGHBOUR = "127.0.0.6", "127.0.0.7"


@pytest.fixture
def kernel(images):
    """Its content."""
    return (images / f"tiny-1/boot/vmlinuz-{VERSION}").read_bytes()


def test_published_boot_is_served_whole(server, kernel):
    plan = server.publish()
    assert plan == server.publish()
    assert plan.script_url == f"http://{SERVER}:{server.port}/boot/7/script.ipxe"
    script = server.text("/boot/7/script.ipxe")
    for command, content in (("kernel", kernel), ("initrd", b"070701")):
        path = server.path_of(command, script)
        status, headers, body = server.fetch(path)
        assert (status, body[: len(content)]) == (200, content)
        assert headers["ETag"].strip('"') in path
        assert server.status(path, headers={"If-None-Match": headers["ETag"]}) == 304
        status, headers, nothing = server.fetch(path, method="HEAD")
        assert (status, int(headers["Content-Length"]), nothing) == (200, len(body), b"")


def test_seed_is_served_to_its_node_only(server):
    server.publish()
    assert server.status("/boot/7/script.ipxe", source=OTHER_IP) == 403
    assert server.status("/boot/7/script.ipxe", source=NODE_IP) == 200
    for path in ("/boot/7/seed.tar", f"/boot/7/seed.tar?node_ip={NODE_IP}"):
        assert server.status(path, source=SERVER) == 403
    status, _, body = server.fetch("/boot/7/seed.tar", source=NODE_IP)
    assert status == 200
    access = serialization.load(NodeAccess, server.call("open_access", node_id=7))
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        host_key = tar.extractfile("etc/ssh/ssh_host_ed25519_key.pub").read().decode()
    assert host_key.startswith(f"{access.host_key} ")
    assert (access.ip, access.user) == (NODE_IP, "root")
    assert "OPENSSH PRIVATE KEY" in access.private_key


def test_boot_files_are_served_to_who_boots_them(server):
    server.publish()
    script = server.text("/boot/7/script.ipxe")
    for command in ("kernel", "initrd", "sanhook"):
        path = server.path_of(command, script)
        assert server.status(path, source=NODE_IP) == 200
        assert server.status(path, source=OTHER_IP) == 404, "it boots nothing"
    server.publish(replace(REQUEST, node_id=8, ip=OTHER_IP))
    assert server.status(path, source=OTHER_IP) == 200


def test_vmrunner_gets_what_the_node_boots_that_it_names(server, images, nodes_service):
    """Its boot script is a user's, which may ask for the script of another node in whatever spelling, or for files of
    another's image by their digest."""
    (images / "tiny-2/boot").mkdir(parents=True)
    make_kernel(images / "tiny-2")
    (images / "tiny-2/secret").touch()
    nodes_service.accounts["bob"] = "b1"  # to which the next reconciliation binds the image
    record = ImageRecord("bob", "private", "tiny-2", 0.0)
    (images / "users/.records/bob").mkdir(parents=True)
    (images / "users/.records/bob/private.json").write_text(json.dumps(serialization.dump(record)))
    server.publish()
    server.publish(replace(REQUEST, node_id=8, ip=OTHER_IP, image="bob/private", owner="bob", owner_account="b1"))
    script = server.text("/boot/8/script.ipxe", source=OTHER_IP)
    root = server.path_of("sanhook", script)
    for path in ("/boot/8/script.ipxe", root):
        assert server.status(f"{path}?node_ip={OTHER_IP}", source=SERVER) == 200
        assert server.status(f"{path}?node_ip={NODE_IP}", source=SERVER) == 403
        assert server.status(path, source=SERVER) == 403, "it names no node"
        assert server.status(f"{path}?node_ip={OTHER_IP}", source=NODE_IP) == 403
    for spelling in ("/boot/%38/script.ipxe", "/%62oot/8/script.ipxe", "//boot/8/script.ipxe", "/boot/08/script.ipxe"):
        assert server.status(f"{spelling}?node_ip={NODE_IP}", source=SERVER) in (403, 404, 308), spelling


def test_root_is_served_in_ranges_and_its_copying_is_announced(server, listener):
    server.publish(replace(REQUEST, run=4))
    path = server.path_of("sanhook", server.text("/boot/7/script.ipxe"))
    status, headers, whole = server.fetch(path)
    assert (status, len(whole)) == (200, int(headers["Content-Length"]))
    assert hashlib.sha256(whole).hexdigest() == headers["ETag"].strip('"') == path.split("/")[-2]
    status, headers, rest = server.fetch(path, headers={"Range": "bytes=1000-"})
    assert (status, rest) == (206, whole[1000:])
    assert server.status(f"/boot/7/copying?node_ip={NODE_IP}", source=SERVER) == 403
    assert server.status("/boot/7/copying", source=NODE_IP) == 200
    wait_until(lambda: NodeCopying(7, 4) in listener.copying, 5)


def test_image_with_a_boot_script_of_its_own_is_served_to_its_node(server, images, kernel):
    folder = images / "tiny-1/boot" / bootserver.MODEL
    folder.mkdir()
    (folder / "start.ipxe").write_text("#!ipxe\nchain /more.ipxe\n")
    (folder / "kernel").symlink_to(f"../vmlinuz-{VERSION}")
    (folder / "secret").symlink_to("/etc/passwd")
    server.publish()
    assert f"chain http://${{next-server}}:{server.port}/start.ipxe" in server.text("/boot/7/script.ipxe")
    for path, content in (("/start.ipxe", b"#!ipxe"), ("/boot/start.ipxe", b"#!ipxe"), ("/kernel", kernel)):
        status, headers, body = server.fetch(path, source=NODE_IP)
        assert (status, body[: len(content)]) == (200, content)
        assert server.status(f"{path}?node_ip={NODE_IP}", source=SERVER) == 200  # vmrunner
        assert server.status(path, source=NODE_IP, headers={"If-None-Match": headers["ETag"]}) == 304
    for path in ("/secret", "/../../../../../../etc/passwd", "/none", "/boot/lib/modules"):
        assert server.status(path, source=NODE_IP) in (400, 404), path
    assert server.status(f"/start.ipxe?node_ip={NODE_IP}", source=OTHER_IP) == 403
    assert server.status("/start.ipxe", source=OTHER_IP) == 404


def test_unknown_things_are_not_found(server):
    assert server.status("/boot/8/script.ipxe") == 404
    assert server.status(f"/boot/files/{'0' * 64}/vmlinuz") == 404
    assert server.status(f"/boot/{'9' * 5000}/script.ipxe") == 404


def test_requests_for_unknown_files_in_a_loop_do_not_look_through_all_images(server, monkeypatch):
    server.publish()
    script = server.text("/boot/7/script.ipxe")
    looked = []
    in_folder = ImageStore.in_folder
    monkeypatch.setattr(ImageStore, "in_folder", lambda *args: looked.append(args) or in_folder(*args))
    answers = [server.status(f"/boot/files/{number:064x}/vmlinuz", source=NODE_IP) for number in range(50)]
    assert set(answers) == {404, 403} and answers[-1] == 403
    assert len(looked) <= BURST + 2  # and what it got back meanwhile
    assert server.status(server.path_of("kernel", script), source=NODE_IP) == 200
    assert server.status(f"/boot/files/{1:064x}/vmlinuz", source=OTHER_IP) == 404


def test_client_that_hangs_up_does_no_harm(server, kernel):
    """A VM that is ended while it loads its kernel."""
    server.publish()
    path = server.path_of("kernel", server.text("/boot/7/script.ipxe"))
    for _ in range(3):
        with server.connect(NODE_IP, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset at close
            connection.recv(1000)
        assert server.fetch(path)[2] == kernel
    assert server.publish().ip == NODE_IP


@pytest.fixture
def vanishing(monkeypatch):
    """VANISHED is the address of a machine that is switched off while the kernel still tries to reach it."""
    handle = HttpProtocol.handle

    def handle_or_fail(protocol):
        if protocol.client_address[0] == VANISHED:
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        handle(protocol)

    monkeypatch.setattr(HttpProtocol, "handle", handle_or_fail)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(pages, "STALL_LIMIT_S", 0.5)


def test_what_one_client_does_is_felt_by_no_other(vanishing, server):
    """Garbage, too much of everything, a machine that vanishes, too many connections."""
    server.publish()
    for bad in (
        b"\0" * 10_000,
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000,
        b"GET / HTTP/9.9\r\nHost: \xff\r\n\r\n",
        b"GET /boot/" + b"9" * 5000 + b"/seed.tar HTTP/1.0\r\n\r\n",
        b"GET /%00/" + b"a" * 300 + b" HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    ):
        with contextlib.suppress(OSError), server.connect(NEIGHBOUR, bad) as connection:
            connection.shutdown(socket.SHUT_WR)
            until_closed(connection)
    assert until_closed(server.connect(VANISHED)) == b""
    held = [server.connect(NEIGHBOUR, b"GET /boot/7") for _ in range(pages.MAX_CONNECTIONS)]
    assert until_closed(server.connect(NEIGHBOUR, b"GET /boot/7/script.ipxe HTTP/1.0\r\n\r\n")) == b""
    many = [server.connect(SERVER) for _ in range(pages.MAX_CONNECTIONS + 1)]  # as vmrunner may
    assert server.status("/boot/7/script.ipxe") == server.status("/boot/7/seed.tar", source=NODE_IP) == 200
    for connection in (*held, *many):
        connection.close()
    wait_until(lambda: until_closed(server.connect(NEIGHBOUR, b"GET / HTTP/1.0\r\n\r\n")) != b"", 5)
    assert server.publish().ip == NODE_IP


def test_a_client_that_stalls_is_cut_off(impatient, server, monkeypatch, tmp_path):
    """In its request, and while it is served a root, of which it takes no more."""
    large = tmp_path / "root"
    large.touch()
    os.truncate(large, 2**32)
    monkeypatch.setattr(BootserverApp, "boot_file", lambda *_: large)
    server.publish()
    assert until_closed(server.connect(NEIGHBOUR, b"GET /boot/7")) == b""
    with server.connect(NODE_IP, b"GET /boot/files/aa/root HTTP/1.1\r\n\r\n"):
        wait_until(lambda: is_open(large), 5, "it is served")
        wait_until(lambda: not is_open(large), 5, "it is cut off")


def is_open(path):
    """In this process, which is the server too."""
    with contextlib.suppress(FileNotFoundError):
        return any(os.path.realpath(f"/proc/self/fd/{fd}") == str(path) for fd in os.listdir("/proc/self/fd"))
