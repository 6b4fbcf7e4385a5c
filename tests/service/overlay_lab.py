"""Hosts in network namespaces, joined by a wire with an MTU of 1500: each with an Emulation and an Overlay of its own,
in the process of the test. A thread is in one namespace at a time (`inside`)."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from services.netemu.emulation import Emulation
from services.netemu.filters import input_filter, underlay
from services.netemu.kernel.fdb import ForwardingEntry, read_entries
from services.netemu.overlay.overlay import Overlay
from services.netemu.overlay.stations import station_of
from tests.links.rig import HOME, WALT_NET, Guest, settle, spec
from walt.contracts.hosts import Fabric, HostAddress, HostAddresses
from walt.contracts.nodes import Interface, Network, NodeWanted

CLONE_NEWNET = 0x40000000
PROTOCOL_ALL = socket.htons(3)
VNI = {5: 0xABC005, 6: 0xABC006}  # by network


class Namespace:
    """A network namespace."""

    def __init__(self) -> None:
        argv = ["unshare", "--net", "sh", "-c", "ip link set lo up; echo $$; exec cat"]
        self._holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        self.pid = self._holder.stdout.readline().strip()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as before, open(f"/proc/{self.pid}/ns/net") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(before.fileno(), CLONE_NEWNET) == 0

    def run(self, line: str) -> str:
        argv = ["nsenter", "--net", "--target", self.pid, *line.split()]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def close(self) -> None:
        self._holder.communicate()


class OverlayHost(Namespace):
    """number: of the host, 1 for the server's."""

    def __init__(self, number: int, wire: Namespace, folder: Path) -> None:
        super().__init__()
        self.number = number
        self.name = f"host{number}"
        self.underlay = f"10.7.0.{number}"
        self.address = HostAddress(self.name, self.underlay, f"192.168.172.{number}", f"52:57:41:4c:54:0{number - 1}")
        self.folder = folder / self.name
        self.folder.mkdir()
        wire.run(f"ip link add {self.name} type veth peer name eth0 netns {self.pid}")
        wire.run(f"ip link set {self.name} master wire up")
        self.run(f"ip addr add {self.underlay}/24 dev eth0")
        self.run("ip link set eth0 up")
        self.guests: list[Guest] = []
        self.start()

    def start(self) -> None:
        """As a new process of netemu does."""
        self.emulation = Emulation(self.folder, "")
        self.overlay = Overlay(self.emulation.netlink, self.name, self.underlay, self.underlay, threading.Event())
        with self.inside():
            self.emulation.prepare()
            input_filter.install("192.168.172.0/22")
            underlay.install()
            self.emulation.join(f"{self.address.ip}/22", self.address.mac)

    def attach(self, node: NodeWanted) -> None:
        with self.inside():
            actions = self.emulation.attach(node.id, node.name, node.owner, node.interfaces)
            self.overlay.follow(actions)

    def detach(self, node: NodeWanted) -> None:
        with self.inside():
            self.overlay.follow(self.emulation.detach(node.id))

    def guest(self, node: NodeWanted) -> Guest:
        """Its interface in slot 3, on a network of a user."""
        with self.inside():
            guest = Guest(f"vn{node.id}e3", node.id)
        settle(guest)
        self.guests.append(guest)
        return guest

    def reconcile(self, fabric: Fabric) -> None:
        with self.inside():
            self.overlay.reconcile(fabric, self.emulation.snapshot().bridges)

    def hear(self, node: NodeWanted) -> None:
        with self.inside():
            self.overlay.put(node)

    def entries(self) -> set[ForwardingEntry]:
        with self.inside():
            return read_entries()

    def interfaces(self) -> set[str]:
        with self.inside():
            return {one.name for one in self.emulation.netlink.interfaces()}

    def sniffer(self, device: str = "eth0") -> socket.socket:
        with self.inside():
            one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, PROTOCOL_ALL)
        one.bind((device, 0))
        one.setblocking(False)
        return one

    def close(self) -> None:
        for guest in self.guests:
            guest.close()
        super().close()


class OverlayLab:
    """Three hosts. nodes: all, by id; those with the network HOME and an address on walt-net."""

    def __init__(self, folder: Path) -> None:
        self.wire = Namespace()
        self.wire.run("ip link add wire type bridge")
        self.wire.run("ip link set wire up")
        self.hosts = [OverlayHost(number, self.wire, folder) for number in (1, 2, 3)]
        self.addresses = HostAddresses("host1", tuple(host.address for host in self.hosts))
        self.nodes: dict[int, NodeWanted] = {}

    def node(self, node_id: int, host: OverlayHost, network: Network = HOME) -> NodeWanted:
        """Registered; on no host yet."""
        interfaces = [Interface(2, f"52:54:00:00:00:{node_id:02x}", WALT_NET)]
        interfaces.append(Interface(3, f"02:00:00:00:00:{node_id:02x}", replace(network, vni=VNI[network.id])))
        node = replace(spec(node_id, interfaces), host=host.name, ip=f"192.168.173.{node_id}")
        self.nodes[node_id] = node
        return node

    def fabric(self, host: OverlayHost) -> Fabric:
        stations = map(station_of, (node for node in self.nodes.values() if node.host != host.name))
        return Fabric(self.addresses, tuple(one for one in stations if one is not None))

    def reconcile(self) -> None:
        for host in self.hosts:
            host.reconcile(self.fabric(host))

    def close(self) -> None:
        for space in (*self.hosts, self.wire):
            space.close()


def read_all(sniffer: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sniffer.recv(70000))
    return found
