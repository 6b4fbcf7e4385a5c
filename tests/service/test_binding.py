"""Nodes on walt-net that speak in another's name: real frames through real bridges, in network namespaces.

vn7e2, vn8e2 ── walt-net (platform), vn7e3 ── home-net
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


def ip6(payload=b"\x87" + b"\x00" * 23):
    """ICMPv6, a neighbour solicitation unless another is given."""
    own, all_nodes = bytes.fromhex("fe80" + "00" * 13 + "07"), bytes.fromhex("ff02" + "00" * 13 + "01")
    return b"\x60\x00\x00\x00" + (len(payload) + 8).to_bytes(2, "big") + b"\x3a\xff" + own + all_nodes + payload


IP, ARP, IP6, OTHER = b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x88\xcc"
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
    "dhcp answer": ethernet(IP, ip4(MINE, payload=DHCP_ANSWER)),
    "dhcp request": ethernet(IP, ip4("0.0.0.0", payload=DHCP_REQUEST)),
    "router advertisement": ethernet(IP6, ip6(b"\x86" + b"\x00" * 15)),
}


class World:
    def __init__(self):
        self.platform, self.me, self.victim = self.spaces = [Space() for _ in range(3)]
        self.platform.ip("link add walt-net type bridge", f"addr add {SERVER}/22 dev walt-net", "link set walt-net up")
        self.platform.ip("link add home-net type bridge", "link set home-net up")
        self.plug(self.me, "vn7e2", "walt-net", "eth0", MY_MAC, MINE)
        self.plug(self.me, "vn7e3", "home-net", "eth1", MY_MAC, "")
        self.plug(self.victim, "vn8e2", "walt-net", "eth0", VICTIMS_MAC, VICTIMS)

    def plug(self, space, tap, bridge, name, mac, ip):
        space.ip(f"link add {name} address {mac} type veth peer name {tap} netns {self.platform.pid}")
        space.ip(f"link set {name} up", *([f"addr add {ip}/22 dev {name}"] if ip else []))
        self.platform.ip(f"link set {tap} master {bridge} up")

    def netemu(self, *calls):
        """What netemu does, where it does it."""
        code = (
            "from services.netemu.binding import Binding, Bindings\n"
            f"bindings = Bindings('192.168.172.0/22')\nbindings.guard()\n"
            f"me = lambda tap: Binding(7, tap, '{MY_MAC}', '{MINE}')\n"
            f"victim = Binding(8, 'vn8e2', '{VICTIMS_MAC}', '{VICTIMS}')\n"
        )
        self.platform.run(sys.executable, "-c", code + "\n".join(calls) + "\nassert not bindings.fault, bindings.fault")

    def arrives(self, frames, via="eth0", at="walt-net"):
        """The names of the frames that come out on that bridge."""
        names = {f"{number:04}": name for number, name in enumerate(frames)}
        see = [*self.platform.inside, sys.executable, "-S", "-c", SEE, at]
        with subprocess.Popen(see, stdout=subprocess.PIPE, text=True) as seen:
            assert seen.stdout is not None and seen.stdout.readline() == "ready\n"
            numbered = [frame + b"WALT" + number.encode() for number, frame in zip(names, frames.values(), strict=True)]
            last = ethernet(IP, ip4(MINE)) + b"WALTlast"
            text = "".join(f"{frame.hex()}\n" for frame in (*numbered, last))
            self.me.run(sys.executable, "-S", "-c", SEND, via, stdin=text)
            return [names[line.strip()] for line in seen.stdout if line.strip() != "last"]


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    for space in world.spaces:
        space.close()


def test_a_node_speaks_in_its_own_name_only(world):
    everything = {**PASS, **STOP}
    assert world.arrives(everything) == list(everything), "unbound, all of this arrives"
    world.netemu("bindings.bind([me('vn7e2'), victim])")
    assert world.arrives(everything) == list(PASS)
    world.netemu()  # netemu starts anew
    assert world.arrives(everything) == list(PASS)


def test_its_other_networks_are_its_own(world):
    world.netemu("bindings.bind([me('vn7e2'), victim])")
    everything = {**PASS, **STOP}
    assert world.arrives(everything, "eth1", "home-net") == list(everything)


def test_the_platform_answers_who_is_bound_and_nobody_in_his_place(world):
    world.netemu("bindings.bind([me('vn7e2'), victim])")
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "1"]
    assert " 0% packet loss" in world.me.run(*ping, SERVER)
    assert " 0% packet loss" in world.victim.run(*ping, MINE)
    world.me.ip(f"addr add {VICTIMS}/32 dev eth0")
    with pytest.raises(AssertionError):
        world.me.run(*ping, "-I", VICTIMS, SERVER)
    world.me.ip(f"addr del {VICTIMS}/32 dev eth0")


def test_a_binding_follows_the_interface_and_goes_with_the_node(world):
    spoofed = {"address of another": STOP["address of another"]}
    world.netemu("bindings.bind([me('vn7e2')])", "bindings.bind([me('vn7e3')])")  # walt-net is now its second network
    assert world.arrives(spoofed) == list(spoofed)
    assert world.arrives(spoofed, "eth1", "home-net") == []
    world.netemu("bindings.forget(7)", "bindings.forget(7)", "bindings.forget(99)")
    assert world.arrives(spoofed, "eth1", "home-net") == list(spoofed)
