"""The names of nodes, through a real dnsmasq in a network namespace of its own: what is wanted is what resolves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from services.bootserver.dns import dns_probe, dnsmasq, resolver
from services.bootserver.dns.zone import Zone, ZoneEntry, parse, render
from tests.support.ports import free_port
from tests.support.wait import wait_until
from walt.contracts import nodes, walt_net_addresses
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Interface, Network, NodeWanted
from walt.contracts.walt_net_addresses import RESOLVER_PORT

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

# Asks that name server; prints the address, the first label of the name behind an address, or the code of its refusal.
CLIENT = """
import sys, dns.message, dns.query
server, name, protocol, port = sys.argv[1:]
question = dns.message.make_query(name, "PTR" if name.endswith(".arpa") else "A")
answer = {"udp": dns.query.udp, "tcp": dns.query.tcp}[protocol](question, server, timeout=3, port=int(port))
print(answer.answer[0][0].to_text().removesuffix(".walt.") if answer.answer else f"code {int(answer.rcode())}")
"""


def test_zone_survives_a_restart(tmp_path):
    Zone(tmp_path, tmp_path / "leases", SERVER).put(NODE)
    again = Zone(tmp_path, tmp_path / "leases", SERVER)
    again.put(OTHER)
    assert parse((tmp_path / "nodes").read_text()).keys() == {7, 8}
    assert parse(render(SERVER, [])) == {}


def test_names_on_the_networks_of_owners_survive_a_restart(tmp_path):
    others = (("10.64.0.1", "vnode1.home-net.walt"), ("fd77::1", "vnode1.home-net.walt"))
    entries = [ZoneEntry("192.168.172.2", "vnode1", 7, 3, others=others), ZoneEntry("192.168.172.3", "pc", 8, 1, MAC)]
    text = render(SERVER, entries)
    assert "10.64.0.1 vnode1.home-net.walt # 7\n" in text
    assert list(parse(text).values()) == entries


def test_late_message_brings_no_former_name_back(tmp_path):
    zone = Zone(tmp_path, tmp_path / "leases", SERVER)
    zone.put(NODE)
    before = zone.known()
    zone.put(replace(NODE, name="new", version=3))
    zone.put(replace(NODE, version=2))
    zone.replace([replace(NODE, version=2)], before)
    assert parse((tmp_path / "nodes").read_text()) == {7: ZoneEntry(NODE.ip, "new", 7, 3)}


def test_answer_of_a_registry_that_was_restored_brings_the_former_name_back(tmp_path):
    zone = Zone(tmp_path, tmp_path / "leases", SERVER)
    zone.put(replace(NODE, name="new", version=3))
    zone.replace([replace(NODE, version=2)], zone.known())
    assert parse((tmp_path / "nodes").read_text()) == {7: ZoneEntry(NODE.ip, NODE.name, 7, 2)}


def test_answer_of_nodes_does_not_undo_what_was_heard_since(tmp_path):
    zone = Zone(tmp_path, tmp_path / "leases", SERVER)
    zone.put(NODE)
    before = zone.known()
    zone.put(OTHER)
    zone.replace([], before)
    assert zone.known().keys() == {8}


def test_upstream_is_a_list_of_addresses():
    assert resolver.parse_upstream("") == []
    assert resolver.parse_upstream("192.0.2.1,2001:db8::1") == ["192.0.2.1", "2001:db8::1"]
    with pytest.raises(InvalidRequest, match="'resolver' is not an address"):
        resolver.parse_upstream("192.0.2.1,resolver")
    assert resolver.parse_networks("198.18.0.0/15,10.0.0.1,") == ["198.18.0.0/15", "10.0.0.1/32"]
    with pytest.raises(InvalidRequest, match="WALT_NAT_EXCEPT: .*'host'"):
        resolver.parse_networks("host")


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (dns.rcode.NXDOMAIN, "it does not know the server's own name (NXDOMAIN)"),
        (dns.rcode.NOERROR, "it does not know the server's own name (NOERROR)"),
        (None, "A DNS query response does not respond to the question asked."),
    ],
)
def test_answer_without_an_address_is_a_fault(code, fault):
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer():
            question, client = server.recvfrom(512)
            response = dns.message.make_response(dns.message.from_wire(question))
            response.set_rcode(code or dns.rcode.NOERROR)
            server.sendto(bytes(12) if code is None else response.to_wire(), client)

        thread = threading.Thread(target=answer)
        thread.start()
        assert dns_probe.query_fault("127.0.0.1", "server", server.getsockname()[1]) == fault
        thread.join()


def test_a_port_on_which_nobody_listens_is_reported_at_once():
    start = time.monotonic()
    assert "refused" in dns_probe.query_fault("127.0.0.1", "server", free_port(), timeout_s=30)
    assert time.monotonic() < start + 10


class NameServer:
    """`services.bootserver.dns.dnsmasq` in a network namespace with the server's address."""

    def __init__(self, folder: Path) -> None:
        self.zone = Zone(dnsmasq.names_folder(folder), dnsmasq.leases_folder(folder), SERVER)
        self._space = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo $$; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._space.stdout is not None
        self._machines: list[subprocess.Popen[str]] = []
        self._inside = ["nsenter", "--net", "--target", self._space.stdout.readline().strip()]
        self._environment = {**os.environ, "WALT_STATE_DIR": str(folder), "WALT_SUBNET": "192.168.172.0/22"}
        self._processes = [self._start(sys.executable, "-m", "services.bootserver.dns.dnsmasq")]

    def _start(self, *argv: str, **variables: str) -> subprocess.Popen[bytes]:
        environment = self._environment | variables
        return subprocess.Popen([*self._inside, *argv], env=environment, stderr=subprocess.DEVNULL)

    def start_resolver(self) -> None:
        """And whom it asks, who knows names of the outside and of the control network."""
        outside = ("--address=/example.org/203.0.113.9", "--address=/control/198.18.255.7")
        upstream = ("--no-hosts", "--no-resolv", "--listen-address=127.0.0.1", "--bind-interfaces")
        self._processes += [
            self._start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", *upstream, *outside),
            self._start(
                *(sys.executable, "-m", "services.bootserver.dns.resolver"),
                WALT_DNS_UPSTREAM="127.0.0.1",
                WALT_NAT_EXCEPT="198.18.255.0/24,",
            ),
        ]

    def make_walt_net(self) -> None:
        for argv in (
            "link set lo up",
            "link add walt-net type bridge",
            f"addr add {SERVER}/22 dev walt-net",
            "link set walt-net up",
        ):
            subprocess.run([*self._inside, "ip", *argv.split()], check=True)

    def resolve(self, name: str, protocol: str = "udp", port: int = 53) -> str:
        """The address, or the first label of a name behind an address; 'code 3' when there is no such name."""
        argv = [*self._inside, sys.executable, "-c", CLIENT, SERVER, name, protocol, str(port)]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

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
        for argv in (
            f"link add {mac[-2:]} type veth peer name lan address {mac} netns {pid}",
            f"link set {mac[-2:]} master walt-net up",
        ):
            subprocess.run([*self._inside, "ip", *argv.split()], check=True)
        inside = ["nsenter", "--net", "--target", pid]
        subprocess.run([*inside, "ip", "link", "set", "lan", "up"], check=True)
        return inside

    def listens(self) -> str:
        done = subprocess.run([*self._inside, "ss", "-Hlntu"], capture_output=True, text=True, check=True)
        return done.stdout

    def stop(self) -> None:
        for one in (*self._processes, self._space, *self._machines):
            one.terminate()
            one.wait()


@pytest.fixture(scope="module")
def server(as_root: None) -> Iterator[NameServer]:
    folder = Path(tempfile.mkdtemp(prefix="walt-dns-"))
    folder.chmod(0o755)  # dnsmasq reads the names as nobody
    server = NameServer(folder)
    try:
        server.zone.write()
        wait_until(lambda: (folder / "dns/dnsmasq.conf").exists())
        server.make_walt_net()  # after dnsmasq has started, as netemu may be late
        wait_until(lambda: f"{SERVER}:53" in server.listens())
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def soon(server, name, answer):
    wait_until(lambda: server.resolve(name) == answer)


def test_nodes_know_each_other_by_name(server):
    server.zone.put(NODE)
    soon(server, "vnode1", NODE.ip)
    assert server.resolve("vnode1.walt") == NODE.ip
    assert server.resolve("VNode1.WALT") == NODE.ip
    assert server.resolve("vnode1.walt", "tcp") == NODE.ip
    assert server.resolve("10.172.168.192.in-addr.arpa") == "vnode1"
    assert (server.resolve("server"), server.resolve("server.walt")) == (SERVER, SERVER)
    assert server.resolve("1.172.168.192.in-addr.arpa") == "server"


def test_rename_and_removal_are_followed_at_once(server):
    server.zone.put(NODE)
    server.zone.put(replace(NODE, name="gateway", version=2))
    soon(server, "gateway", NODE.ip)
    assert server.resolve("vnode1.walt") == "code 3"
    assert server.resolve("10.172.168.192.in-addr.arpa") == "gateway"
    server.zone.put(replace(OTHER, name="vnode1"))  # the name is free for another
    soon(server, "vnode1", OTHER.ip)
    server.zone.put(replace(NODE, name="gateway", power=nodes.ABSENT, version=3))
    server.zone.forget(OTHER.id)
    soon(server, "vnode1", "code 3")
    assert server.resolve("gateway.walt") == "code 3"
    assert server.resolve("server") == SERVER


def test_what_is_not_of_walt_net_is_refused_and_nothing_else_listens(server):
    assert server.resolve("example.org") == "code 5"
    assert server.resolve("nobody.walt") == "code 3"
    addresses = {line.split()[4] for line in server.listens().splitlines()}
    # DHCP's clients have no address yet; dnsmasq obeys only what comes in by walt-net.
    assert {one for one in addresses if not one.endswith(":67")} == {f"{SERVER}:53", f"{SERVER}:69"}


def test_fault_s30_only_the_resolver_knows_the_outside(server):
    """And tells nobody of the networks that no node reaches."""
    server.zone.put(NODE)
    server.start_resolver()
    wait_until(lambda: f"{SERVER}:{RESOLVER_PORT}" in server.listens())
    for protocol in ("udp", "tcp"):
        assert server.resolve("tunnel.example.org", protocol, RESOLVER_PORT) == "203.0.113.9"
        assert server.resolve("tunnel.example.org", protocol) == "code 5"
    assert server.resolve("rabbitmq.control", port=RESOLVER_PORT) == "code 3"
    assert server.resolve("7.255.18.198.in-addr.arpa", port=RESOLVER_PORT) == "code 3"
    wait_until(lambda: server.resolve("vnode1", port=RESOLVER_PORT) == NODE.ip)


def test_addresses_of_physical_nodes_are_kept_for_them(tmp_path):
    zone = Zone(tmp_path, tmp_path / "leases", SERVER)
    zone.put(NODE)
    zone.put(PC)
    assert (tmp_path / "leases/nodes").read_text() == f"{MAC},192.168.175.33\n"
    assert parse((tmp_path / "nodes").read_text())[9] == ZoneEntry(PC.ip, "pc", 9, 1, MAC)
    Zone(tmp_path, tmp_path / "leases", SERVER).forget(9)
    assert (tmp_path / "leases/nodes").read_text() == ""


# What a ROM that requests an address is given; busybox gives it to this script.
LEASE = '#!/bin/sh\n[ "$1" = bound ] && echo "$ip $siaddr ${boot_file:-$bootfile} $router $dns $ntpsrv $hostname"\n:\n'
BIOS, EFI, IPXE = "0x5d:0000", "0x5d:0007", "0xaf:00"


def asks(machine, folder, kind):
    """A DHCP client that says that it is a ROM of this kind."""
    script = folder / "lease"
    script.write_text(LEASE)
    script.chmod(0o755)
    argv = ["busybox", "udhcpc", "-i", "lan", "-n", "-q", "-f", "-t", "8", "-T", "1", "-O", "bootfile", "-O", "ntpsrv"]
    done = subprocess.run([*machine, *argv, "-x", kind, "-s", str(script)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_rom_gets_an_address_and_what_it_can_load(server, tmp_path):
    unknown, known = server.plug("52:54:00:00:00:01"), server.plug(MAC)
    server.zone.put(PC)
    ip, *rest = asks(unknown, tmp_path, BIOS)
    assert walt_net_addresses.is_of_machine("192.168.172.0/22", ip)
    assert rest == [SERVER, "undionly.kpxe", SERVER, SERVER, SERVER]
    assert asks(unknown, tmp_path, EFI)[:3] == [ip, SERVER, "ipxe.efi"]
    wait_until(lambda: asks(known, tmp_path, IPXE)[0] == PC.ip)
    assert asks(known, tmp_path, IPXE)[2] == f"http://{SERVER}/boot/machine.ipxe?mac=${{netX/mac}}"


def test_a_loader_comes_by_tftp(server, tmp_path):
    machine = server.plug("52:54:00:00:00:02")
    subprocess.run([*machine, "ip", "addr", "add", "192.168.175.9/22", "dev", "lan"], check=True)
    for name in ("undionly.kpxe", "ipxe.efi"):
        done = subprocess.run(
            [*machine, "busybox", "tftp", "-g", "-r", name, "-l", str(tmp_path / name), SERVER], timeout=20
        )
        assert done.returncode == 0
        assert (tmp_path / name).read_bytes() == Path(dnsmasq.LOADERS, name).read_bytes()
    outside = ["busybox", "tftp", "-g", "-r", "../../../etc/passwd", "-l", str(tmp_path / "passwd"), SERVER]
    assert subprocess.run([*machine, *outside], timeout=20, capture_output=True).returncode != 0
