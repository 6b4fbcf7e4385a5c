"""The names of nodes, through a real dnsmasq in a network namespace of its own: what is wanted is what resolves."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.bootserver import dns, dnsping
from services.bootserver.zone import Entry, Zone, parse, render
from services.contracts import addresses, nodes
from services.contracts.errors import InvalidRequest
from services.contracts.nodes import Interface, Network, NodeWanted

SERVER = "192.168.172.1"
MAC = "52:54:00:1a:2b:3c"
NODE = NodeWanted(
    7, "vnode1", "lab", "alice", nodes.POWER_ON, 1, 1, "default", "192.168.172.10", 4, 2**29, 0, 180, 9, ()
)
OTHER = replace(NODE, id=8, name="vnode2", ip="192.168.172.11")
PC = replace(
    NODE,
    id=9,
    name="pc",
    ip="192.168.175.33",
    type=nodes.PHYSICAL,
    interfaces=(Interface(2, MAC, Network(0, "walt-net", "")),),
)

# Asks a name server without anything that the host configures; prints the address, or the code of its refusal.
CLIENT = """
import socket, struct, sys
server, name, protocol = sys.argv[1:]
packed = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + bytes(1)
kind = 12 if name.endswith(".arpa") else 1
question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + packed + struct.pack(">2H", kind, 1)
with socket.socket(type=socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as connection:
    connection.settimeout(3)
    connection.connect((server, 53))
    frame = struct.pack(">H", len(question)) if protocol == "tcp" else b""
    connection.sendall(frame + question)
    answer = connection.recv(512)[len(frame):]
code, count = answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
record = answer[12 + len(packed) + 4:]
data = record[12:12 + struct.unpack(">H", record[10:12])[0]] if count else b""
print(f"code {code}" if not count else socket.inet_ntoa(data) if kind == 1 else data[1:1 + data[0]].decode())
"""


def test_zone_survives_a_restart(tmp_path):
    Zone(tmp_path, tmp_path / "leases", SERVER).put(NODE)
    again = Zone(tmp_path, tmp_path / "leases", SERVER)
    again.put(OTHER)
    assert parse((tmp_path / "nodes").read_text()).keys() == {7, 8}
    assert parse(render(SERVER, [])) == {}


def test_late_message_brings_no_former_name_back(tmp_path):
    zone = Zone(tmp_path, tmp_path / "leases", SERVER)
    zone.put(replace(NODE, name="new", version=3))
    zone.put(replace(NODE, version=2))
    zone.replace([replace(NODE, version=2)], zone.known())
    assert parse((tmp_path / "nodes").read_text()) == {7: Entry(NODE.ip, "new", 7, 3)}


def test_answer_of_nodes_does_not_undo_what_was_heard_since(tmp_path):
    zone = Zone(tmp_path, tmp_path / "leases", SERVER)
    zone.put(NODE)
    before = zone.known()
    zone.put(OTHER)
    zone.replace([], before)
    assert zone.known() == {8}


def test_upstream_is_a_list_of_addresses():
    assert dns.parse_upstream("") == []
    assert dns.parse_upstream("192.0.2.1,2001:db8::1") == ["192.0.2.1", "2001:db8::1"]
    with pytest.raises(InvalidRequest, match="'resolver' is no address"):
        dns.parse_upstream("192.0.2.1,resolver")


@pytest.mark.parametrize("answer", [b"", b"\0" * 12, struct.pack(">6H", 5, 0x8183, 1, 0, 0, 0)])
def test_other_answers_are_none(answer):
    assert dnsping.fault(5, answer)


class NameServer:
    """`services.bootserver.dns` in a network namespace with the server's address, and names asked of it there."""

    def __init__(self, folder: Path) -> None:
        self.zone = Zone(dns.names_folder(folder), dns.leases_folder(folder), SERVER)
        self._space = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo $$; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._space.stdout is not None
        self._machines: list[subprocess.Popen[str]] = []
        self._inside = ["nsenter", "--net", "--target", self._space.stdout.readline().strip()]
        environment = {**os.environ, "WALT_STATE_DIR": str(folder), "WALT_SUBNET": "192.168.172.0/22"}
        self._process = subprocess.Popen(
            [*self._inside, sys.executable, "-m", "services.bootserver.dns"], env=environment, stderr=subprocess.DEVNULL
        )

    def make_walt_net(self) -> None:
        for words in (
            "link set lo up",
            "link add walt-net type bridge",
            f"addr add {SERVER}/22 dev walt-net",
            "link set walt-net up",
        ):
            subprocess.run([*self._inside, "ip", *words.split()], check=True)

    def asked(self, name: str, protocol: str = "udp") -> str:
        """The address, or the first label of a name behind an address; 'code 3' when there is no such name."""
        words = [*self._inside, sys.executable, "-c", CLIENT, SERVER, name, protocol]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def plug(self, mac: str) -> list[str]:
        """A machine with this MAC at a cable of walt-net: how to begin a command there."""
        space = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo $$; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert space.stdout is not None
        pid = space.stdout.readline().strip()
        self._machines.append(space)
        for words in (
            f"link add {mac[-2:]} type veth peer name lan address {mac} netns {pid}",
            f"link set {mac[-2:]} master walt-net up",
        ):
            subprocess.run([*self._inside, "ip", *words.split()], check=True)
        inside = ["nsenter", "--net", "--target", pid]
        subprocess.run([*inside, "ip", "link", "set", "lan", "up"], check=True)
        return inside

    def listens(self) -> str:
        done = subprocess.run([*self._inside, "ss", "-Hlntu"], capture_output=True, text=True, check=True)
        return done.stdout

    def stop(self) -> None:
        for one in (self._process, self._space, *self._machines):
            one.terminate()
            one.wait()


@pytest.fixture(scope="module")
def server(as_root: None) -> Iterator[NameServer]:
    folder = Path(tempfile.mkdtemp(prefix="walt-dns-"))
    folder.chmod(0o755)  # dnsmasq reads the names as nobody
    server = NameServer(folder)
    try:
        server.zone.write()
        wait_for(lambda: (folder / "dns/dnsmasq.conf").exists())
        server.make_walt_net()  # after dnsmasq has started, as netemu may be late
        wait_for(lambda: f"{SERVER}:53" in server.listens())
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def wait_for(condition, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.02)


def soon(server, name, answer):
    wait_for(lambda: server.asked(name) == answer)


def test_nodes_know_each_other_by_name(server):
    server.zone.put(NODE)
    soon(server, "vnode1", NODE.ip)
    assert server.asked("vnode1.walt") == NODE.ip
    assert server.asked("VNode1.WALT") == NODE.ip
    assert server.asked("vnode1.walt", "tcp") == NODE.ip
    assert server.asked("10.172.168.192.in-addr.arpa") == "vnode1"
    assert (server.asked("server"), server.asked("server.walt")) == (SERVER, SERVER)
    assert server.asked("1.172.168.192.in-addr.arpa") == "server"


def test_rename_and_removal_are_followed_at_once(server):
    server.zone.put(NODE)
    server.zone.put(replace(NODE, name="gateway", version=2))
    soon(server, "gateway", NODE.ip)
    assert server.asked("vnode1.walt") == "code 3"
    assert server.asked("10.172.168.192.in-addr.arpa") == "gateway"
    server.zone.put(replace(OTHER, name="vnode1"))  # the name is free for another
    soon(server, "vnode1", OTHER.ip)
    server.zone.put(replace(NODE, name="gateway", power=nodes.ABSENT, version=3))
    server.zone.forget(OTHER.id)
    soon(server, "vnode1", "code 3")
    assert server.asked("gateway.walt") == "code 3"
    assert server.asked("server") == SERVER


def test_what_is_not_of_walt_net_is_refused_and_nothing_else_listens(server):
    assert server.asked("example.org") == "code 5"
    assert server.asked("nobody.walt") == "code 3"
    addresses = {line.split()[4] for line in server.listens().splitlines()}
    # DHCP's clients have no address yet; dnsmasq obeys only what comes in by walt-net.
    assert {one for one in addresses if not one.endswith(":67")} == {f"{SERVER}:53", f"{SERVER}:69"}


def test_addresses_of_physical_nodes_are_kept_for_them(tmp_path):
    zone = Zone(tmp_path, tmp_path / "leases", SERVER)
    zone.put(NODE)
    zone.put(PC)
    assert (tmp_path / "leases/nodes").read_text() == f"{MAC},192.168.175.33\n"
    assert parse((tmp_path / "nodes").read_text())[9] == Entry(PC.ip, "pc", 9, 1, MAC)
    Zone(tmp_path, tmp_path / "leases", SERVER).forget(9)
    assert (tmp_path / "leases/nodes").read_text() == ""


# What a ROM that asks for its address is told; busybox gives it to this script.
LEASE = '#!/bin/sh\n[ "$1" = bound ] && echo "$ip $siaddr ${boot_file:-$bootfile} $router $dns $hostname"\n:\n'
BIOS, EFI, IPXE = "0x5d:0000", "0x5d:0007", "0xaf:00"


def asks(machine, folder, kind):
    """A DHCP client that says that it is a ROM of this kind."""
    script = folder / "lease"
    script.write_text(LEASE)
    script.chmod(0o755)
    words = ["busybox", "udhcpc", "-i", "lan", "-n", "-q", "-f", "-t", "8", "-T", "1", "-O", "bootfile", "-x", kind]
    done = subprocess.run([*machine, *words, "-s", str(script)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_rom_gets_an_address_and_what_it_can_load(server, tmp_path):
    unknown, known = server.plug("52:54:00:00:00:01"), server.plug(MAC)
    server.zone.put(PC)
    ip, *rest = asks(unknown, tmp_path, BIOS)
    assert addresses.is_of_machine("192.168.172.0/22", ip)
    assert rest == [SERVER, "undionly.kpxe", SERVER, SERVER]
    assert asks(unknown, tmp_path, EFI)[:3] == [ip, SERVER, "ipxe.efi"]
    wait_for(lambda: asks(known, tmp_path, IPXE)[0] == PC.ip)
    assert asks(known, tmp_path, IPXE)[2] == f"http://{SERVER}/boot/machine.ipxe?mac=${{netX/mac}}"


def test_a_loader_comes_by_tftp(server, tmp_path):
    machine = server.plug("52:54:00:00:00:02")
    subprocess.run([*machine, "ip", "addr", "add", "192.168.175.9/22", "dev", "lan"], check=True)
    for name in ("undionly.kpxe", "ipxe.efi"):
        done = subprocess.run(
            [*machine, "busybox", "tftp", "-g", "-r", name, "-l", str(tmp_path / name), SERVER], timeout=20
        )
        assert done.returncode == 0
        assert (tmp_path / name).read_bytes() == Path(dns.LOADERS, name).read_bytes()
    outside = ["busybox", "tftp", "-g", "-r", "../../../etc/passwd", "-l", str(tmp_path / "passwd"), SERVER]
    assert subprocess.run([*machine, *outside], timeout=20, capture_output=True).returncode != 0
