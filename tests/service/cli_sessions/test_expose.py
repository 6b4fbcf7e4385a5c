"""`walt node expose`: many connections, each with a session."""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
import termios

import pytest

from tests.service.cli.command import read_until, threading
from tests.support.wait import wait_until

pytestmark = pytest.mark.usefixtures("as_root")  # files are given to the user of the machines


@pytest.fixture
def server():
    """On a port of the node: echoes all, says 'bye' at the end of input."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    open_now = set()

    def echo(near):
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                near.sendall(data)
            near.sendall(b"bye")
        near.close()
        open_now.discard(near)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                open_now.add(near)
                threading.Thread(target=echo, args=(near,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], open_now
    listener.close()


@contextlib.contextmanager
def exposed(walt, node, port):
    process = walt.start("node", "expose", node, str(port), "0", stderr=subprocess.PIPE)
    try:
        said = read_until(process.stderr.fileno(), b"press ctrl-c to stop\n").decode()
        assert said.startswith(f"port {port} of {node} is reachable at 127.0.0.1:")
        yield process, int(said.split("127.0.0.1:")[1].split(";")[0])
    finally:
        process.kill()
        process.wait()


def test_fault_36_expose_serves_many_connections_and_closes_all(walt, server):
    node_port, open_now = server
    with exposed(walt, "vnode1", node_port) as (process, port):
        clients = [socket.create_connection(("127.0.0.1", port), 15) for _ in range(20)]
        for number, one in enumerate(clients):
            one.sendall(b"hello %d" % number)
        for number, one in enumerate(clients):
            assert one.recv(100) == b"hello %d" % number
        assert len(open_now) == 20
        for one in clients[:10]:  # ends by itself, each direction alone
            one.shutdown(socket.SHUT_WR)
            assert one.recv(100) == b"bye"
            assert one.recv(100) == b""
            one.close()
        wait_until(lambda: len(open_now) == 10, 10)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
        assert process.stderr.read() == b"walt: interrupted\n"
        wait_until(lambda: not open_now, 15)
        for one in clients[10:]:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(100) == b""
            one.close()


def readable_bytes(connection):
    return struct.unpack("i", fcntl.ioctl(connection, termios.FIONREAD, bytes(4)))[0]


def test_expose_passes_bulk_at_the_pace_of_the_reader(walt, server):
    data = os.urandom(5_000_000)
    with exposed(walt, "vnode1", server[0]) as (_, port):
        near = socket.create_connection(("127.0.0.1", port), 30)
        idle = socket.create_connection(("127.0.0.1", port), 30)

        def send():
            near.sendall(data)
            near.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        wait_until(lambda: readable_bytes(near) > 50_000)  # all buffers on the way fill up: nobody reads
        idle.sendall(b"still here")
        assert idle.recv(100) == b"still here"
        got = bytearray()
        while piece := near.recv(65536):
            got += piece
        assert bytes(got) == data + b"bye"


def test_expose_refusals(walt, bob, server):
    node_port, _ = server
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = walt("node", "expose", "vnode1", "80", str(port))
        assert done.returncode == 1
        assert (
            done.stderr.decode()
            == f"walt: port {port} of 127.0.0.1 cannot be opened for listening: Address already in use\n"
        )
        closed = socket.create_server(("127.0.0.1", 0))
        nobody = closed.getsockname()[1]
        closed.close()
        with exposed(walt, "vnode1", nobody) as (process, port), socket.create_connection(("127.0.0.1", port)) as one:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(100) == b""
            read_until(process.stderr.fileno(), b"does not answer: Connection refused")
    with exposed(bob, "vnode1", node_port) as (process, port), socket.create_connection(("127.0.0.1", port)) as one:
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(100) == b""
        assert process.wait(15) == 4


def test_expose_outlives_console(walt, console, server):
    with exposed(walt, "vnode1", server[0]) as (process, port):
        with socket.create_connection(("127.0.0.1", port), 15) as one:
            one.sendall(b"a")
            assert one.recv(10) == b"a"
            console.kill()
            console.start()
            one.settimeout(30)
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(10) == b""
        read_until(process.stderr.fileno(), b"a connection is lost")
        with socket.create_connection(("127.0.0.1", port), 15) as one:
            one.sendall(b"b")
            assert one.recv(10) == b"b"
