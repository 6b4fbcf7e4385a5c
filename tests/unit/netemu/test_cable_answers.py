"""The control socket of the cable: a real process for its socket, no port and no priority."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from services.netemu.cable import process as cable
from services.netemu.cable.control import CableClient
from services.netemu.cable.model import Wire
from services.netemu.cable.protocol import socket_path
from walt.contracts.links import Direction, LinkModel

PORTS = 5000
LINK = LinkModel(Direction(10_000), Direction(rate_bps=8_000_000))


def port():
    up, down = Wire(LINK.up), Wire(LINK.down)
    return SimpleNamespace(link=LINK, up=SimpleNamespace(wire=up), down=SimpleNamespace(wire=down))


@pytest.fixture
def process(tmp_path, monkeypatch):
    """A cable with thousands of ports, whose loop runs as long as a test waits for it."""
    monkeypatch.setattr(cable, "become_realtime", lambda: False)
    process = cable.CableProcess(tmp_path)
    process.switch.ports.update({f"vn{number}e2": port() for number in range(PORTS)})
    return process


def while_running(process, work):
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        while not done.done():
            process.switch.run_once(0.01)
    return done.result()


def test_fault_s13_a_cable_with_thousands_of_ports_tells_all_of_them(process, tmp_path):
    state = while_running(process, CableClient(tmp_path).show)
    assert state is not None and len(state.links) == PORTS
    assert set(state.links.values()) == {LINK}


def test_fault_s13_frames_wait_for_no_more_than_a_page(process, tmp_path):
    """Whoever has thousands of ports: the loop comes back to its frames after each page of the answer."""
    lengths = []
    answer = process._answering._answer
    process._answering._answer = lambda text: (lengths.append(len(found := answer(text))), found)[1]
    while_running(process, CableClient(tmp_path).show)
    assert max(lengths) < 32_768 and len(lengths) > PORTS / 64


def test_fault_s13_a_client_of_the_version_before_gets_all_in_one_answer_however_slowly_it_reads(process, tmp_path):
    def ask():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(str(socket_path(tmp_path)))
            client.settimeout(10)
            client.sendall(b'{"do": "show"}\n')
            return b"".join(iter(lambda: client.recv(5000), b""))

    answer = while_running(process, ask)
    assert len(answer) > 500_000, "more than a socket holds"
    assert len(json.loads(answer)["ports"]) == PORTS


def test_requests_in_pieces_nonsense_and_clients_that_go(process, tmp_path):
    def ask(*pieces):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(socket_path(tmp_path)))
            client.settimeout(10)
            for piece in pieces:
                client.sendall(piece)
            return client.recv(65536) if pieces[-1].endswith(b"\n") else b""

    assert while_running(process, lambda: ask(b'{"do": "dr', b'op", "tap": "vn9e9"}\n')) == b"{}\n"
    assert b"error" in while_running(process, lambda: ask(b"nonsense\n"))
    assert while_running(process, lambda: ask(b'{"do": "sho')) == b""
    for _ in range(200):
        while_running(process, lambda: ask(b""))
    assert len(process._answering._requests) <= 64
