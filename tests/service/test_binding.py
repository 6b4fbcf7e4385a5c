"""Nodes on walt-net that send from another's addresses: real frames through real bridges, in network namespaces.

vn7e2, cb7e2, vn8e2, vn9e2 ── walt-net (platform), vn7e3 ── home-net
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.service.test_nat import Space

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces

SERVER, MINE, VICTIMS = "192.168.172.1", "192.168.172.7", "192.168.172.8"
MY_MAC, VICTIMS_MAC = "52:54:00:00:00:07", "52:54:00:00:00:08"

# Sends frames (hex, one a line), each with a number at its end; says which of them the other end has seen.
SEND = """
import socket, sys
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
for line in sys.stdin:
    out.send(bytes.fromhex(line))
"""
SEE = """
import socket, sys, time
seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
seen.bind((sys.argv[1], 0))
seen.settimeout(5)
print("ready", flush=True)
while True:
    data = seen.recv(2000)
    if data[-8:-4] == b"WALT":
        print(data[-4:].decode(), flush=True)
        if data[-4:] == b"last":
            break
"""


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def address(text):
    return bytes(map(int, text.split(".")))


def ethernet(kind, payload, source=MY_MAC, tags=b""):
    return b"\xff" * 6 + mac(source) + tags + kind + payload


def ip4(source, protocol=17, payload=b"\x04\x00\x04\x00\x00\x10\x00\x00", fragment=0):
    """UDP from port 1024 without a checksum, unless another payload is given; room for a number at its end."""
    total, flags = 20 + len(payload) + 8, fragment.to_bytes(2, "big")
    begin = b"\x45\x00" + total.to_bytes(2, "big") + b"\x00\x01" + flags + b"\x40" + bytes([protocol])
    rest = address(source) + address(SERVER)
    return begin + checksum(begin + rest) + rest + payload


def checksum(header):
    """A bridge whose host filters its frames passes no IP packet without."""
    total = sum(int.from_bytes(header[place : place + 2], "big") for place in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2, "big")


def arp(sender_mac, sender_ip):
    return (
        b"\x00\x01\x08\x00\x06\x04\x00\x02" + mac(sender_mac) + address(sender_ip) + mac(VICTIMS_MAC) + address(VICTIMS)
    )


OTHER_IP6 = bytes.fromhex("fe80" + "00" * 13 + "07")  # made up: of no MAC
NO_IP6 = bytes(16)


def link_local(text):
    """The address that a node makes of its MAC."""
    first, *rest = mac(text)
    return bytes.fromhex("fe80" + "00" * 6) + bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]])


def neighbour(kind, target, option=b""):
    """kind: 135 solicitation, 136 advertisement."""
    return bytes([kind]) + bytes(7) + target + option


def link_address(kind, text):
    """An option of a neighbour message. kind: 1 of the sender, 2 of the target."""
    return bytes([kind, 1]) + mac(text)


def ip6(payload=b"\x87" + b"\x00" * 23, source=OTHER_IP6):
    """ICMPv6, a neighbour solicitation unless another is given."""
    all_nodes = bytes.fromhex("ff02" + "00" * 13 + "01")
    return b"\x60\x00\x00\x00" + (len(payload) + 8).to_bytes(2, "big") + b"\x3a\xff" + source + all_nodes + payload


IP, ARP, IP6, OTHER, AOE = b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x88\xcc", b"\x88\xa2"
TAG0, QINQ0 = b"\x81\x00\x00\x00", b"\x88\xa8\x00\x00"
DHCP_ANSWER = b"\x00\x43\x00\x44\x00\x10\x00\x00"
DHCP_REQUEST = b"\x00\x44\x00\x43\x00\x10\x00\x00"

PASS = {
    "own address": ethernet(IP, ip4(MINE)),
    "no address yet": ethernet(IP, ip4("0.0.0.0")),
    "another subnet": ethernet(IP, ip4("10.0.0.1")),
    "own arp": ethernet(ARP, arp(MY_MAC, MINE)),
    "arp of another subnet": ethernet(ARP, arp(MY_MAC, "10.0.0.1")),
    "ipv6": ethernet(IP6, ip6()),
    "own ipv6": ethernet(IP6, ip6(source=link_local(MY_MAC))),
    "own neighbour advertisement": ethernet(
        IP6, ip6(neighbour(136, link_local(MY_MAC), link_address(2, MY_MAC)), link_local(MY_MAC))
    ),
    "question for another": ethernet(
        IP6, ip6(neighbour(135, link_local(VICTIMS_MAC), link_address(1, MY_MAC)), link_local(MY_MAC))
    ),
    "is my ipv6 free": ethernet(IP6, ip6(neighbour(135, link_local(MY_MAC)), NO_IP6)),
}
STOP = {
    "address of another": ethernet(IP, ip4(VICTIMS)),
    "address of the server": ethernet(IP, ip4(SERVER)),
    "tcp of another": ethernet(IP, ip4(VICTIMS, 6, b"\x00" * 20)),
    "fragment of another": ethernet(IP, ip4(VICTIMS, fragment=16)),
    "mac of another": ethernet(IP, ip4(MINE), VICTIMS_MAC),
    "mac and address of another": ethernet(IP, ip4(VICTIMS), VICTIMS_MAC),
    "arp for another": ethernet(ARP, arp(MY_MAC, VICTIMS)),
    "arp for the server": ethernet(ARP, arp(MY_MAC, SERVER)),
    "arp with the mac of another": ethernet(ARP, arp(VICTIMS_MAC, MINE)),
    "tagged": ethernet(IP, ip4(VICTIMS), tags=TAG0),
    "tagged twice": ethernet(IP, ip4(VICTIMS), tags=TAG0 + TAG0),
    "tagged as a provider does": ethernet(IP, ip4(VICTIMS), tags=QINQ0 + TAG0),
    "no protocol of ours": ethernet(OTHER, b"\x00" * 40),
    "the disk of a machine": ethernet(AOE, b"\x10\x00" + b"\x00" * 38),
    "the disk of a machine, in its name": ethernet(AOE, b"\x10\x00" + b"\x00" * 38, VICTIMS_MAC),
    "dhcp answer": ethernet(IP, ip4(MINE, payload=DHCP_ANSWER)),
    "dhcp request": ethernet(IP, ip4("0.0.0.0", payload=DHCP_REQUEST)),
    "router advertisement": ethernet(IP6, ip6(b"\x86" + b"\x00" * 15)),
    "redirect": ethernet(IP6, ip6(b"\x89" + b"\x00" * 39)),
    "ipv6 of another": ethernet(IP6, ip6(source=link_local(VICTIMS_MAC))),
    "neighbour advertisement for another": ethernet(IP6, ip6(neighbour(136, link_local(VICTIMS_MAC)))),
    "neighbour advertisement with the mac of another": ethernet(
        IP6, ip6(neighbour(136, OTHER_IP6, link_address(2, VICTIMS_MAC)))
    ),
    "neighbour solicitation with the mac of another": ethernet(
        IP6, ip6(neighbour(135, link_local(VICTIMS_MAC), link_address(1, VICTIMS_MAC)))
    ),
    "is the ipv6 of another free": ethernet(IP6, ip6(neighbour(135, link_local(VICTIMS_MAC)), NO_IP6)),
}


class SpoofingLab:
    def __init__(self):
        self.platform, self.me, self.victim = self.spaces = [Space() for _ in range(3)]
        self.platform.ip("link add walt-net type bridge", f"addr add {SERVER}/22 dev walt-net", "link set walt-net up")
        self.platform.ip("link add home-net type bridge", "link set home-net up")
        self.plug(self.me, "vn7e2", "walt-net", "eth0", MY_MAC, MINE)
        self.plug(self.me, "vn7e3", "home-net", "eth1", MY_MAC, "")
        self.plug(self.me, "cb7e2", "walt-net", "eth2", MY_MAC, "")  # where frames leave the cable
        self.plug(self.me, "vn9e2", "walt-net", "eth3", MY_MAC, "")
        self.plug(self.victim, "vn8e2", "walt-net", "eth0", VICTIMS_MAC, VICTIMS)

    def plug(self, space, tap, bridge, name, mac, ip):
        space.ip(f"link add {name} address {mac} type veth peer name {tap} netns {self.platform.pid}")
        space.ip(f"link set {name} up", *([f"addr add {ip}/22 dev {name}"] if ip else []))
        self.platform.ip(f"link set {tap} up")
        code = f"from services.netemu.kernel.netlink import Netlink; Netlink().set_bridge('{tap}', '{bridge}')"
        self.platform.run(sys.executable, "-c", code)

    def netemu(self, *calls):
        """What netemu does, where it does it."""
        code = (
            "from services.netemu.filters.anti_spoofing import Binding, Bindings\n"
            f"bindings = Bindings('192.168.172.0/22')\nbindings.install()\n"
            f"me = lambda tap: Binding(7, tap, '{MY_MAC}', '{MINE}')\n"
            f"victim = Binding(8, 'vn8e2', '{VICTIMS_MAC}', '{VICTIMS}')\n"
        )
        self.platform.run(sys.executable, "-c", code + "\n".join(calls) + "\nassert not bindings.fault, bindings.fault")

    def send(self, space, via, *frames):
        space.run(sys.executable, "-S", "-c", SEND, via, stdin="".join(f"{frame.hex()}\n" for frame in frames))

    def arrives(self, frames, via="eth0", at="walt-net"):
        """The names of the frames that come out on that bridge."""
        names = {f"{number:04}": name for number, name in enumerate(frames)}
        see = [*self.platform.inside, sys.executable, "-S", "-c", SEE, at]
        with subprocess.Popen(see, stdout=subprocess.PIPE, text=True) as seen:
            assert seen.stdout is not None and seen.stdout.readline() == "ready\n"
            numbered = [frame + b"WALT" + number.encode() for number, frame in zip(names, frames.values(), strict=True)]
            self.send(self.me, via, *numbered)
            if at == "walt-net":  # from who is bound to it
                self.send(self.victim, "eth0", ethernet(IP, ip4(VICTIMS), VICTIMS_MAC) + b"WALTlast")
            else:
                self.send(self.me, via, ethernet(IP, ip4(MINE)) + b"WALTlast")
            return [names[line.strip()] for line in seen.stdout if line.strip() != "last"]


@pytest.fixture(scope="module")
def lab():
    lab = SpoofingLab()
    yield lab
    for space in lab.spaces:
        space.close()


def test_a_node_speaks_in_its_own_name_only(lab):
    everything = {**PASS, **STOP}
    assert lab.arrives(everything) == list(everything), "unbound, all of this arrives"
    lab.netemu("bindings.bind([me('vn7e2'), victim])")
    assert lab.arrives(everything) == list(PASS)
    lab.netemu()  # netemu starts anew
    assert lab.arrives(everything) == list(PASS)


def test_fault_b50_what_is_dropped_is_counted_for_each_node(lab):
    lab.netemu("bindings.forget(7)", "bindings.bind([me('vn7e2'), victim])", "assert bindings.dropped()[7] == 0")
    lab.arrives({**PASS, **STOP})
    counted = f"assert bindings.dropped()[7] == {len(STOP)}, bindings.dropped()"
    lab.netemu(counted, "assert bindings.dropped()[8] == 0")
    lab.netemu("bindings.bind([me('vn7e3'), victim])", counted)  # as at the next boot
    lab.netemu("bindings.forget(7)", "assert 7 not in bindings.dropped()")
    lab.netemu("bindings.bind([me('vn7e2'), victim])")


def test_its_other_networks_are_its_own(lab):
    lab.netemu("bindings.bind([me('vn7e2'), victim])")
    everything = {**PASS, **STOP}
    assert lab.arrives(everything, "eth1", "home-net") == list(everything)


def test_the_platform_answers_who_is_bound_and_nobody_in_his_place(lab):
    lab.netemu("bindings.bind([me('vn7e2'), victim])")
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "1"]
    assert " 0% packet loss" in lab.me.run(*ping, SERVER)
    assert " 0% packet loss" in lab.victim.run(*ping, MINE)
    lab.me.ip(f"addr add {VICTIMS}/32 dev eth0")
    with pytest.raises(AssertionError):
        lab.me.run(*ping, "-I", VICTIMS, SERVER)
    lab.me.ip(f"addr del {VICTIMS}/32 dev eth0")


def test_a_node_behind_the_cable_is_bound_as_one_on_a_tap(lab):
    lab.netemu("bindings.bind([me('vn7e2'), victim])")
    everything = {**PASS, **STOP}
    assert lab.arrives(everything, "eth2") == list(PASS)
    lab.netemu("bindings.bind([me('vn7e3'), victim])")
    assert lab.arrives(everything, "eth2") == [], "its walt-net is another interface now"


def test_what_is_not_in_the_table_is_dropped(lab):
    lab.netemu("bindings.bind([me('vn7e2'), victim])")
    everything = {**PASS, **STOP}
    assert lab.arrives(everything, "eth3") == []
    lab.netemu("bindings.bind([Binding(9, 'vn9e2', '52:54:00:00:00:07', '192.168.172.7')])")
    assert lab.arrives(everything, "eth3") == list(PASS)
    lab.netemu("bindings.forget(9)")
    assert lab.arrives(everything, "eth3") == []


def test_a_binding_follows_the_interface_and_goes_with_the_node(lab):
    spoofed = {"address of another": STOP["address of another"]}
    lab.netemu("bindings.bind([me('vn7e2'), victim])", "bindings.bind([me('vn7e3')])")  # walt-net is its second network
    assert lab.arrives(spoofed) == [], "its first is walt-net no longer"
    assert lab.arrives(spoofed, "eth1", "home-net") == []
    lab.netemu("bindings.forget(7)", "bindings.forget(7)", "bindings.forget(99)")
    assert lab.arrives(spoofed, "eth1", "home-net") == list(spoofed)


CHANGES = """
import ctypes, socket, subprocess, sys, threading, time
from pathlib import Path
ctypes.CDLL(None).unshare(0x40000000)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
from services.netemu.emulation import Emulation
from services.netemu.filters.anti_spoofing import Bindings, bindings_of_interfaces
from tests.links.rig import PLAIN, WALT_NET, Guest, lat, spec, stop_cable
from walt.contracts.links import Direction, LinkModel
from walt.contracts.nodes import Interface
own, spoofed = map(bytes.fromhex, sys.argv[2:])
emulation = Emulation(Path(sys.argv[1]), "192.168.172.1/22")
emulation.prepare()
bindings = Bindings("192.168.172.0/22")
bindings.install()
seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
seen.bind(("walt-net", 0))
seen.settimeout(10)

def node(link):
    return spec(7, [Interface(2, "52:54:00:00:00:07", WALT_NET, link)])

def attach(link):
    bindings.bind(bindings_of_interfaces(7, "192.168.172.7", node(link).interfaces))
    emulation.attach(7, "node7", "alice", node(link).interfaces)

def send():
    while not done.is_set():
        for frame in (spoofed, own):
            guest.send_raw(frame)
        time.sleep(0.0005)

def own_arrives():
    deadline = time.monotonic() + 10
    while True:
        frame = seen.recv(2000)
        assert frame != spoofed, "a spoofed frame passed"
        assert time.monotonic() < deadline, "no frame of the node passes"
        if frame == own:
            return

attach(PLAIN)
guest, done = Guest("vn7e2", 7), threading.Event()
sender = threading.Thread(target=send, daemon=True)
sender.start()
own_arrives()
SEEDED = LinkModel(Direction(1000, seed=1))
backends = []
for link, change in (
    (SEEDED, emulation.update_links), (lat(1), emulation.update_links), (PLAIN, emulation.update_links), (PLAIN, None),
    (lat(2), emulation.update_links), (SEEDED, emulation.update_links), (PLAIN, None),
):
    change(node(link)) if change else attach(link)
    backends.append(emulation.snapshot().ports["vn7e2"].backend)
    for _ in range(200):
        own_arrives()
done.set()
sender.join()
guest.close()
emulation.detach(7)
stop_cable(emulation.cable)
assert "cable" in backends and "direct" in backends, backends
"""


def test_a_node_is_bound_through_each_change_of_its_link(tmp_path):
    frames = (PASS["own address"], STOP["address of another"])
    argv = [sys.executable, "-c", CHANGES, str(tmp_path), *((frame + bytes(8)).hex() for frame in frames)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
