"""What the suite of links plays with: guests that have taps, on networks of an Emulation of their own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from services.kit.tun import VNET_HEADER_BYTES, open_tap, set_offload
from services.netemu.cable.control import CableClient
from services.netemu.emulation import Emulation
from services.netemu.ports import reports
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import PortReport
from walt.contracts.nodes import POWER_ON, Interface, Network, NodeWanted

CLONE_NEWNET = 0x40000000
HOME = Network(5, "home-net", "alice")
OTHERS = Network(6, "home-net", "bob")
WALT_NET = Network(0, "walt-net", "")
SERVER = "192.168.172.1/22"
MEASURE = Network(7, "measure", "")
ETHERTYPE = 0x88B5  # for local experiments
BROADCAST = b"\xff" * 6
PLAIN = LinkModel()
MS = 1000
NEEDS_CSUM = 1  # flags of a virtio_net_hdr


def lat(milliseconds: float) -> LinkModel:
    return LinkModel(up=Direction(latency_us=round(milliseconds * MS)))


class Guest:
    """One interface of one node, as its qemu has it."""

    def __init__(self, tap: str, number: int) -> None:
        self.tap = tap
        self.descriptor = open_tap(tap)
        set_offload(self.descriptor, True)
        self.mac = bytes((2, 0, 0, 0, 0, number))

    def send(self, number: int, size: int = 100, to: bytes = BROADCAST, tag: bytes = b"") -> None:
        payload = struct.pack("!IQ", number, time.monotonic_ns())
        frame = to + self.mac + tag + struct.pack("!H", ETHERTYPE) + payload
        os.write(self.descriptor, bytes(VNET_HEADER_BYTES) + frame.ljust(size, b"\0"))

    def send_raw(self, frame: bytes, header: bytes = bytes(VNET_HEADER_BYTES)) -> None:
        os.write(self.descriptor, header + frame)

    def frames(self, seconds: float) -> Iterator[bytes]:
        """Every frame that comes until it has been quiet for so long."""
        for frame in self.frames_with_header(seconds):
            yield frame[VNET_HEADER_BYTES:]

    def frames_with_header(self, seconds: float) -> Iterator[bytes]:
        while select.select([self.descriptor], [], [], seconds)[0]:
            yield os.read(self.descriptor, 70000)

    def numbers(self, seconds: float, stop_after: int = 0) -> list[Arrival]:
        """(number, one-way milliseconds, arrival in ns) of the suite's own frames."""
        found = []
        for frame in self.frames(seconds):
            if frame[12:14] == struct.pack("!H", ETHERTYPE):
                now = time.monotonic_ns()
                number, sent = struct.unpack_from("!IQ", frame, 14)
                found.append((number, (now - sent) / 1e6, now))
                if len(found) == stop_after:
                    break
        return found

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


Arrival = tuple[int, float, int]  # number, one-way milliseconds, at (ns)


class Testbed:
    """Nodes on networks of an Emulation of their own."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend = backend
        self.folder = folder
        self.emulation = self.new_emulation()
        self._nodes: dict[int, list[Interface]] = {}
        self._guests: list[Guest] = []
        self.slack_ms = 1.0

    def find_slack(self) -> None:
        """What this machine needs for a frame by itself: a slow guest is no fault of the link."""
        a, b = self.node(101, MEASURE), self.node(102, MEASURE)
        self.slack_ms = 1.0 + 3 * max(one_delay(a, b) for _ in range(10))
        for node_id in (101, 102):
            self.emulation.detach(node_id)

    def new_emulation(self) -> Emulation:
        emulation = Emulation(self.folder, SERVER)
        emulation.prepare()
        assert emulation.shaper == self.backend, f"back-end is {emulation.shaper}: {emulation.no_netem}"
        return emulation

    def node(self, node_id: int, network: Network = HOME, link: LinkModel = PLAIN) -> Guest:
        self.attach(node_id, link, network)
        guest = Guest(f"vn{node_id}e2", node_id)
        self._guests.append(guest)
        settle(guest)
        return guest

    def attach(self, node_id: int, link: LinkModel, network: Network = HOME) -> None:
        self._nodes[node_id] = [Interface(2, "", network, link)]
        self.attach_again(node_id)

    def update_links(self, node_id: int, link: LinkModel) -> None:
        interface = Interface(2, "", self._nodes[node_id][0].network, link)
        self.emulation.update_links(spec(node_id, [interface]))

    def port(self, node_id: int) -> PortReport:
        return next(one for one in reports.ports(self.emulation.readings(), {}) if one.node_id == node_id)

    def attach_again(self, node_id: int) -> list[object]:
        return list(self.emulation.attach(node_id, f"node{node_id}", "alice", self._nodes[node_id]))

    def close(self) -> None:
        for guest in self._guests:
            guest.close()
        stop_cable(self.emulation.cable)


def spec(node_id: int, interfaces: list[Interface]) -> NodeWanted:
    name = f"node{node_id}"
    return NodeWanted(
        node_id, name, "local", "alice", POWER_ON, 1, 1, "default", "", 1, 2**29, 0, 180, 9, tuple(interfaces)
    )


def stop_cable(cable: CableClient) -> None:
    """End the cable, if it runs, and wait until it is gone."""
    state = cable.show()
    if state is None:
        return
    os.kill(state.pid, signal.SIGTERM)
    while cable.show() is not None:
        time.sleep(0.02)
    with contextlib.suppress(ChildProcessError):  # of another process
        os.waitpid(state.pid, 0)


def settle(guest: Guest) -> None:
    """A tap has its carrier once opened; the bridge takes a moment to notice."""
    time.sleep(0.1)
    for _ in guest.frames(0):
        pass


def one_delay(a: Guest, b: Guest) -> float:
    """How many milliseconds one frame takes from a to b."""
    a.send(1)
    found = b.numbers(0.5, stop_after=1)
    assert found, "the frame did not arrive"
    return found[0][1]


def be_punctual() -> None:
    """The suite's own clock must not be what is measured; neither children nor other threads inherit this."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(5))


def exchange(a: Guest, b: Guest, count: int, pause_s: float = 0.0005, size: int = 100) -> list[Arrival]:
    """So many numbered frames, one after each pause; what arrives."""

    def send() -> None:
        be_punctual()
        for number in range(count):
            a.send(number, size)
            time.sleep(pause_s)

    sender = threading.Thread(target=send)
    sender.start()
    found = b.numbers(0.5)
    sender.join()
    return found


def stream(a: Guest, b: Guest, during: Callable[[], None]) -> None:
    """A numbered frame every millisecond while something is done; all arrive, in order."""
    done = threading.Event()
    found: list[Arrival] = []
    reader = threading.Thread(target=lambda: found.extend(b.numbers(1.0)))
    worker = threading.Thread(target=lambda: (during(), time.sleep(0.2), done.set()))
    a.send(0)
    sent = 1
    reader.start()
    worker.start()
    while not done.is_set():
        a.send(sent)
        sent += 1
        time.sleep(0.001)
    worker.join()
    reader.join()
    numbers = [number for number, _, _ in found]
    assert len(set(numbers)) == sent, f"{sent - len(set(numbers))} of {sent} frames were lost"
    assert numbers == sorted(numbers), "frames were reordered"


def arp_request(mac: bytes) -> bytes:
    asked = bytes((192, 168, 172, 1))
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, bytes((192, 168, 172, 9)), bytes(6), asked)
    return BROADCAST + mac + b"\x08\x06" + body


def udp_frame(guest: Guest, payload: bytes, *, with_checksum: bool) -> tuple[bytes, bytes]:
    """As a guest hands it to its network card, which is to complete the checksum; and as it must be then."""
    addresses = bytes((10, 0, 0, 1, 10, 0, 0, 2))
    udp = struct.pack("!HHH", 1000, 2000, 8 + len(payload))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0) + addresses
    ip = ip[:10] + struct.pack("!H", 0xFFFF - ones_sum(ip)) + ip[12:]
    pseudo = ones_sum(addresses + struct.pack("!HH", 17, 8 + len(payload)))
    whole = 0xFFFF - ones_sum(struct.pack("!H", pseudo) + udp + payload)
    head = BROADCAST + guest.mac + b"\x08\0" + ip + udp
    asked, sent = (pseudo, whole) if with_checksum else (0, 0)
    return head + struct.pack("!H", asked) + payload, head + struct.pack("!H", sent) + payload


def large_frame(guest: Guest, payload: bytes) -> tuple[bytes, bytes]:
    """The virtio header, and a TCP frame to be cut at 1460 bytes."""
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(payload), 1, 0, 64, 6, 0) + b"\x0a\0\0\1\x0a\0\0\2"
    ip = ip[:10] + struct.pack("!H", 0xFFFF - ones_sum(ip)) + ip[12:]
    pseudo = ones_sum(ip[12:20] + struct.pack("!HH", 6, 20 + len(payload)))
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 0x50, 0x10, 1000, pseudo, 0)
    header = struct.pack("<BBHHHH", NEEDS_CSUM, 1, 54, 1460, 34, 16)
    return header, BROADCAST + guest.mac + b"\x08\0" + ip + tcp + payload


def ones_sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total


def assert_delay(testbed: Testbed, a: Guest, b: Guest, wanted: float) -> None:
    delay = min(one_delay(a, b) for _ in range(3))
    assert wanted - 0.3 <= delay <= wanted + testbed.slack_ms, f"asked {wanted} ms, took {delay:.2f} ms"


def interface_names() -> set[str]:
    out = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    return {line.split(": ")[1].split("@")[0] for line in out.splitlines()}
