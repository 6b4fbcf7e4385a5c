"""Pings and forwarded ports: sessions with the node over the network."""

import contextlib
import socket
import struct
import subprocess

import pytest

from services.console import requests
from services.kit import tasks
from walt.contracts import console
from walt.contracts.errors import InvalidRequest, NotFound, NotOwner


def test_the_output_and_status_of_ping(service, user):
    one = user()
    one.open("open_ping", node="vnode2", count=1)  # it need not be booted
    assert one.wait_for_exit() == 0
    assert b"1 packets transmitted, 1 received" in one.data("out")


SILENT_NEIGHBOUR = """
ip link add br9 type bridge && ip address add 192.0.2.1/24 dev br9 && ip link set br9 up
ip neighbour replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev br9
exec "$@"
"""


def test_a_node_that_is_off_gets_as_many_pings_as_requested():
    argv = ["unshare", "--net", "sh", "-c", SILENT_NEIGHBOUR, "sh", *requests.ping_argv("192.0.2.9", 1)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "1 packets transmitted, 0 received" in done.stdout


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("open_ping", {"count": 0}),
        ("open_ping", {"count": "ten"}),
        ("open_forward", {"port": 0}),
        ("open_forward", {"port": 70000}),
        ("open_forward", {"port": "ssh"}),
    ],
)
def test_bad_pings_and_ports(service, user, method, arguments):
    with pytest.raises(InvalidRequest):
        user().open(method, node="vnode1", **arguments)


def test_what_nodes_refuses_is_refused(service, user):
    with pytest.raises(NotOwner):
        user("bob").open("open_forward", node="vnode1", port=1)
    with pytest.raises(NotFound):
        user("bob").open("open_ping", node="vnode10")


@pytest.fixture
def listener():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


def connect(one, listener):
    one.open("open_forward", node="vnode1", port=listener.getsockname()[1])
    with tasks.Timeout(10):
        connection, _ = listener.accept()
    return connection


def test_a_connection_carries_bytes_and_each_direction_ends_separately(service, user, listener):
    data = bytes(range(256)) * 4
    one = user()
    with contextlib.closing(connect(one, listener)) as node:
        one.send(console.DATA, data)
        assert node.recv(len(data), socket.MSG_WAITALL) == data
        node.sendall(b"from the node")
        node.shutdown(socket.SHUT_WR)
        one.wait(lambda: one.bodies(console.END_OF_INPUT))
        assert one.data() == b"from the node"
        assert one.exit_status() is None
        one.send(console.DATA, b"more")
        one.send(console.END_OF_INPUT)
        assert node.recv(100, socket.MSG_WAITALL) == b"more"
        assert one.wait_for_exit() == 0
    assert one.notices() == []


def test_a_connection_that_is_refused_or_reset(service, user, listener):
    one = user()
    node = connect(one, listener)
    node.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    node.close()
    assert one.wait_for_exit() == 1
    port = listener.getsockname()[1]
    assert one.notices() == [f"port {port} of vnode1 broke the connection: Connection reset by peer"]
    listener.close()
    two = user()
    two.open("open_forward", node="vnode1", port=port)
    assert two.wait_for_exit() == 1
    assert two.notices() == [f"port {port} of vnode1 does not answer: Connection refused"]


def test_a_connection_ends_with_its_session(service, user, listener):
    one = user()
    with contextlib.closing(connect(one, listener)) as node:
        one.request("close_session", session=one.session)
        with tasks.Timeout(5), pytest.raises(ConnectionResetError):
            tasks.read(node.fileno(), 10)


def test_input_that_the_node_does_not_take_is_bounded(service, user, listener):
    one = user()
    with contextlib.closing(connect(one, listener)):
        for _ in range(1000):
            one.send(console.DATA, b"x" * 16_384)
        one.wait_for_exit()
    assert "bytes of input were waiting to be taken" in one.notices()[0]
