"""The time of the server, from its own process in a network namespace."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bootserver.ntp import ntp_packet, ntp_probe, ntp_server
from tests.support.ports import free_port
from tests.support.wait import wait_until

SERVER = "192.168.172.1"

# Sends each argument, in hexadecimal, as a message; prints the answers that came within a second, a line each.
CLIENT = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(1)
    for message in sys.argv[2:]:
        client.sendto(bytes.fromhex(message), (sys.argv[1], 123))
    try:
        while True:
            print(client.recv(2000).hex(), flush=True)
    except TimeoutError:
        pass
"""


class TimeServer:
    def __init__(self) -> None:
        self._space = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo $$; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._space.stdout is not None
        self._inside = ["nsenter", "--net", "--target", self._space.stdout.readline().strip()]
        self._environment = {**os.environ, "WALT_SUBNET": "192.168.172.0/22"}
        argv = [*self._inside, sys.executable, "-m", "services.bootserver.ntp.ntp_server"]
        self.process = subprocess.Popen(argv, env=self._environment)

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._inside, *argv], env=self._environment, capture_output=True, text=True, check=check
        )

    def probe(self) -> str:
        return self.run(sys.executable, "-m", "services.bootserver.ntp.ntp_probe", check=False).stderr.strip()

    def answers(self, *messages: bytes) -> list[bytes]:
        done = self.run(sys.executable, "-c", CLIENT, SERVER, *(message.hex() for message in messages))
        return [bytes.fromhex(line) for line in done.stdout.split()]

    def stop(self) -> None:
        for one in (self.process, self._space):
            one.terminate()
            one.wait()


@pytest.fixture(scope="module")
def server(as_root: None) -> Iterator[TimeServer]:
    server = TimeServer()
    try:
        wait_until(lambda: f"{SERVER}:123" in server.run("ss", "-Hlnu").stdout)
        for argv in (  # after it has started, as netemu may be late
            "link set lo up",
            "link add walt-net type bridge",
            f"addr add {SERVER}/22 dev walt-net",
            "link set walt-net up",
        ):
            server.run("ip", *argv.split())
        yield server
    finally:
        server.stop()


def test_it_tells_the_time_of_this_host(server):
    assert server.probe() == ""
    before = time.time_ns()
    (message,) = server.answers(ntp_packet.request(2**63 + 5))
    answer = ntp_packet.parse_answer(message)
    assert answer.origin == 2**63 + 5
    assert before <= answer.received_ns <= answer.sent_ns <= time.time_ns()


def test_only_requests_get_an_answer(server):
    """So two servers do not answer each other for ever, and nobody is sent more than he sent."""
    request = ntp_packet.request(1)
    control, of_a_server, of_version_7 = (bytes([one]) + request[1:] for one in (4 << 3 | 6, 4 << 3 | 4, 7 << 3 | 3))
    others = (b"", request[:47], of_a_server, control, of_version_7)
    (answer,) = server.answers(*others, request + bytes(900))
    assert len(answer) == ntp_packet.SIZE
    (old,) = server.answers(bytes([3 << 3 | ntp_packet.CLIENT]) + request[1:])
    assert old[0] >> 3 == 3


def test_it_has_no_rights(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert set(fields["Uid"].split()) == {"65534"}
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    listening = {line.split()[3] for line in server.run("ss", "-Hlntu").stdout.splitlines()}
    assert server.run("ss", "-Hlntu").stdout.count(":123 ") == len(listening) == 1


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (bytes(8), "it answers with 8 bytes instead of 48"),
        (ntp_packet.request(1), "it answers as mode 3 instead of 4, a server"),
        (struct.pack("!BB46x", 3 << 6 | 4 << 3 | 4, 0), "it says that it does not have the time"),
        (struct.pack("!BB46x", 4 << 3 | 4, 1), "it answers another request than this one"),
    ],
)
def test_what_is_not_the_time_is_a_fault(answer, fault):
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: other.sendto(answer, other.recvfrom(512)[1]))
        thread.start()
        assert ntp_probe.query_fault("127.0.0.1", other.getsockname()[1]) == fault
        thread.join()


def test_a_silent_server_is_a_fault():
    start = time.monotonic()
    assert "refused" in ntp_probe.query_fault("127.0.0.1", free_port(), timeout_s=30)
    assert time.monotonic() < start + 10
    with ntp_server.listen("127.0.0.1", 0) as deaf:
        assert "timed out" in ntp_probe.query_fault("127.0.0.1", deaf.getsockname()[1], timeout_s=0.1)


def test_times_on_the_wire():
    """From 2036 on the seconds begin anew."""
    for at_s in (0, 1_800_000_000, 2_085_978_495, 2_085_978_496, 4_000_000_000):
        assert ntp_packet.nanoseconds(ntp_packet.timestamp(at_s * 10**9 + 500_000_000)) == at_s * 10**9 + 500_000_000
    assert ntp_packet.timestamp(0) == 2_208_988_800 << 32
