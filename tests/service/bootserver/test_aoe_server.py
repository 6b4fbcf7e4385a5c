"""The disk server's process with a real vblade, in a network namespace: who gets an answer, and how it comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bootserver.persist import disk_exports, export_files
from services.bootserver.persist.persist_store import PersistStore
from tests.service.test_nat import Space
from tests.support.wait import wait_until
from walt.contracts.nodes import Owner

MAC, OTHER_MAC = "52:54:00:00:00:07", "52:54:00:00:00:08"
ALICE, BOB = Owner("alice", "a1"), Owner("bob", "b1")
SIZE = 64 * 2**20
CAP_NET_RAW = 13  # capabilities(7)

# "Query config" of AoE to all: prints the shelves that answer this address (the AoE protocol, revision 11, section 2).
ASK = """
import socket, struct, sys, time
own = bytes.fromhex(sys.argv[1].replace(":", ""))
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88A2)) as port:
    port.bind(("machine", 0))
    frame = bytes(6 * [255]) + own + struct.pack(">HBBHBBIHHBBH", 0x88A2, 0x10, 0, 0xFFFF, 0xFF, 1, 7, 0, 0, 0, 0x10, 0)
    port.send(frame.ljust(60, b"\\0"))
    port.settimeout(0.3)
    try:
        while True:
            answer = port.recv(2000)
            if answer[:6] == own and answer[14] & 0x08:
                print(struct.unpack_from(">H", answer, 16)[0])
    except TimeoutError:
        pass
"""


class DiskServer:
    """`services.bootserver.persist.aoe_server` beside a bridge walt-net with one port, and its exports."""

    def __init__(self, folder: Path) -> None:
        self._space = Space()
        self.make_bridge()
        self.state = folder / "bootserver"
        self.store = PersistStore(self.state)
        self._environment = {**os.environ, "WALT_STATE_DIR": str(folder)}
        self.start()

    def make_bridge(self) -> None:
        for command in (
            "link add walt-net type bridge",
            "link set walt-net up",
            "link add machine type veth peer name port",
            "link set port master walt-net",
            "link set port up",
            "link set machine up promisc on",
        ):
            self._space.run("ip", *command.split())

    def renew_bridge(self) -> None:
        self._space.run("ip", "link", "delete", "walt-net")
        self._space.run("ip", "link", "delete", "machine")
        self.make_bridge()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self._space.inside, sys.executable, "-m", "services.bootserver.persist.aoe_server"],
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )

    def shelves(self, mac: str) -> list[str]:
        return self._space.run(sys.executable, "-c", ASK, mac).split()

    def becomes(self, mac: str, *shelves: str) -> None:
        wait_until(lambda: self.shelves(mac) == [*shelves], 15, f"{mac} gets shelves {shelves}")

    def vblades(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._space.close()


@pytest.fixture
def server(as_root, require, tmp_path) -> Iterator[DiskServer]:
    require("vblade", shutil.which("vblade") is not None, "vblade is not installed")
    server = DiskServer(tmp_path)
    try:
        yield server
    finally:
        server.close()


def test_a_machine_gets_its_own_disk_and_nobody_else_an_answer(server):
    wait_until(lambda: export_files.query_fault(server.state) == "", 10, "the server runs")
    server.store.grant(7, ALICE, MAC, SIZE)
    server.becomes(MAC, "1")
    assert export_files.query_fault(server.state) == "" and server.shelves(OTHER_MAC) == []
    (vblade,) = server.vblades()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{vblade}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == status["Gid"].split() == [str(disk_exports.FIRST_UID + 1)] * 4
    assert {int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd")} == {1 << CAP_NET_RAW}
    assert (status["Groups"].split(), status["NoNewPrivs"]) == ([], "1")
    server.store.grant(7, BOB, MAC, SIZE)
    server.becomes(MAC, "2")
    server.store.revoke(7)
    server.becomes(MAC)


def test_disks_come_back_after_any_death(server):
    server.store.grant(7, ALICE, MAC, SIZE)
    server.becomes(MAC, "1")
    (vblade,) = server.vblades()
    os.kill(vblade, signal.SIGKILL)
    wait_until(lambda: server.vblades() not in ([], [vblade]), 10, "another vblade")
    server.becomes(MAC, "1")
    server.process.kill()
    server.process.wait()
    assert export_files.query_fault(server.state) == export_files.NOT_RUNNING
    server.becomes(MAC)
    server.start()
    server.becomes(MAC, "1")


def test_a_disk_that_is_gone_is_no_fault_of_the_others(server):
    server.store.grant(7, ALICE, MAC, SIZE)
    server.store.grant(8, BOB, OTHER_MAC, SIZE)
    (export_files.disks(server.state) / "7/alice~a1.raw").rename(server.state / "gone")
    server.becomes(OTHER_MAC, "2")
    server.process.kill()
    server.process.wait()
    server.start()
    server.becomes(OTHER_MAC, "2")
    assert export_files.query_fault(server.state) == "it does not serve 7/alice~a1.raw"


def test_disks_follow_to_a_bridge_that_is_made_anew(server):
    server.store.grant(7, ALICE, MAC, SIZE)
    server.becomes(MAC, "1")
    server.renew_bridge()
    server.becomes(MAC, "1")
