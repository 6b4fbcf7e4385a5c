"""Networks that span hosts: real tunnels between network namespaces, joined by a wire with an MTU of 1500."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.netemu.filters.nat import Nat
from services.netemu.ports.tunnel import VXLAN_PORT, tunnel_alias
from tests.links.rig import BROADCAST, OTHERS, Guest, large_frame, ones_sum, settle
from tests.service.overlay_lab import VNI, OverlayLab, read_all
from walt.contracts.nodes import ABSENT

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces

QUIET_S = 0.3


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OverlayLab]:
    lab = OverlayLab(tmp_path)
    try:
        yield lab
    finally:
        lab.close()


@pytest.fixture
def spread(lab: OverlayLab) -> list[Guest]:
    """Three nodes on one network, each on a host of its own, and on the second host one of another network."""
    for number, host in enumerate(lab.hosts, 1):
        host.attach(lab.node(number, host))
    lab.hosts[1].attach(lab.node(4, lab.hosts[1], OTHERS))
    lab.reconcile()
    return [lab.hosts[at].guest(lab.nodes[number]) for number, at in ((1, 0), (2, 1), (3, 2), (4, 1))]


def arrived(guest: Guest) -> list[int]:
    return [number for number, _, _ in guest.numbers(QUIET_S)]


def test_what_reaches_whom(lab, spread):
    first, second, third, other = spread
    first.send(1)
    assert [arrived(one) for one in (second, third, other)] == [[1], [1], []], "a broadcast"
    first.send(2, to=bytes.fromhex("0180c200000e"))
    assert [arrived(one) for one in (second, third, other)] == [[2], [2], []], "LLDP"
    first.send(3, to=bytes.fromhex("060000000099"))
    assert [arrived(one) for one in (second, third, other)] == [[3], [3], []], "an address that nobody has"
    wire = lab.hosts[2].sniffer()
    read_all(wire)
    first.send(4, to=second.mac)
    assert [arrived(one) for one in (second, third, other)] == [[4], [], []], "an address of the registry"
    assert not [frame for frame in read_all(wire) if second.mac in frame], "it goes to its host alone"
    second.send(5, to=first.mac)
    assert [arrived(one) for one in (first, third)] == [[5], []]


def test_frames_of_any_size_pass_whatever_they_say_of_fragments(lab, spread):
    first, second, *_ = spread
    for size in (1450, 1514, 9014, 65000):
        first.send(size, size)
        assert arrived(second) == [size]
    frame = second.mac + first.mac + b"\x08\0" + unfragmentable(9000)
    first.send_raw(frame)
    assert frame in list(second.frames(QUIET_S))
    assert not list(first.frames(QUIET_S)), "nobody answers in the name of another"
    header, whole = large_frame(first, b"y" * 30_000)
    first.send_raw(whole, header)
    received = [frame for frame in second.frames(QUIET_S) if frame[:12] == whole[:12]]
    assert b"".join(frame[54:] for frame in received) == b"y" * 30_000


def test_a_machine_inside_of_a_node_is_reached_too(lab, spread):
    first, second, third, _ = spread
    nested = bytes.fromhex("0600000000aa")
    first.send_raw(BROADCAST + nested + b"\x88\xb5" + bytes(50))
    for guest in (second, third):
        assert [frame[6:12] for frame in guest.frames(QUIET_S)] == [nested]
    second.send(7, to=nested)
    assert arrived(first) == [7]


def test_walt_net_reaches_nodes_and_hosts_of_everywhere(lab):
    lab.reconcile()
    assert "bytes from 192.168.172.3" in lab.hosts[1].run("ping -c 1 -W 5 192.168.172.3")
    lab.hosts[0].run("ping -c 1 -W 5 -s 1472 -M do 192.168.172.2")
    node = lab.node(2, lab.hosts[1])
    lab.hosts[1].attach(node)
    for host in lab.hosts:
        host.hear(node)
    with lab.hosts[1].inside():
        guest = Guest("vn2e2", 2)
    mac = bytes.fromhex(node.walt_net.mac.replace(":", ""))
    lab.hosts[0].run(f"ip neigh add {node.ip} lladdr {node.walt_net.mac} dev walt-net nud permanent")
    wires = [lab.hosts[2].sniffer(device) for device in ("eth0", "walt-net")]
    sender = socket_in(lab.hosts[0])
    sender.sendto(b"to the node", (node.ip, 9))
    assert [frame[:6] for frame in guest.frames(QUIET_S) if b"to the node" in frame] == [mac]
    assert not [frame for wire in wires for frame in read_all(wire) if b"to the node" in frame]
    guest.close()


def test_a_tunnel_is_there_while_both_ends_are(lab):
    first, second, third = lab.hosts
    one, two = lab.node(1, first), lab.node(2, second)
    lab.reconcile()
    assert all(host.interfaces() >= {"vx0", "vb0", "vt0"} for host in lab.hosts), "on walt-net the hosts are stations"
    first.attach(one)
    assert "vx5" in first.interfaces() and "vx5" not in second.interfaces() | third.interfaces()
    second.attach(two)
    assert "vx5" in second.interfaces()
    before = {(entry.mac, entry.address) for entry in first.entries()}
    first.hear(replace(two, version=2, power=ABSENT))
    assert "vx5" not in first.interfaces()
    gone = before - {(entry.mac, entry.address) for entry in first.entries()}
    assert {mac for mac, _ in gone} == {one.mac for one in two.interfaces}
    first.hear(replace(two, version=3))
    assert {(entry.mac, entry.address) for entry in first.entries()} == before
    first.detach(one)
    assert not {"vx5", "vb5", "vt5", "net5"} & first.interfaces()


def test_a_node_that_moves_is_reached_where_it_is(lab, spread):
    first, second, third, _ = spread
    moved = replace(lab.nodes[2], host="host3", version=2)
    for host in lab.hosts:
        host.hear(moved)
    lab.hosts[1].detach(moved)
    lab.hosts[2].attach(moved)
    second.close()
    second = lab.hosts[2].guest(moved)
    second.send(1)  # now the bridge of its host knows it too
    assert [arrived(one) for one in (first, third)] == [[1], [1]]
    first.send(2, to=second.mac)
    assert [arrived(one) for one in (second, third)] == [[2], []]


def test_a_restart_interrupts_nothing_and_removes_what_is_left_over(lab, spread):
    first, second, *_ = spread
    host = lab.hosts[0]
    before = host.entries(), host.interfaces()
    host.start()
    host.run("ip link add vx99 type vxlan id 99 local 10.7.0.1 dstport 4789 nolearning")
    with host.inside():
        host.emulation.netlink.set_alias("vx99", tunnel_alias(host.underlay))
    first.send(1, to=second.mac)
    second.send(2)
    assert (arrived(second), arrived(first)) == ([1], [2])
    host.reconcile(lab.fabric(host))
    assert (host.entries(), host.interfaces()) == before


def unfragmentable(size: int) -> bytes:
    """An IPv4 packet, DF set."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, size, 1, 0x4000, 64, 253, 0) + bytes((10, 0, 0, 1, 10, 0, 0, 2))
    return (head[:10] + struct.pack("!H", 0xFFFF - ones_sum(head)) + head[12:]).ljust(size, b"x")


def socket_in(host) -> socket.socket:
    with host.inside():
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def test_only_hosts_send_into_networks(lab, spread):
    first, second, *_ = spread
    frame = BROADCAST + first.mac + b"\x88\xb5" + struct.pack("!IQ", 9, 0) + bytes(40)
    packet = bytes((8, 0, 0, 0)) + VNI[5].to_bytes(3) + bytes(1) + frame
    lab.wire.run("ip addr add 10.7.0.9/24 dev wire")
    with lab.wire.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(packet, (lab.hosts[1].underlay, VXLAN_PORT))
        assert arrived(second) == []
        lab.hosts[1].run("nft add element inet walt_underlay hosts { 10.7.0.9 }")
        sender.sendto(packet, (lab.hosts[1].underlay, VXLAN_PORT))
        assert arrived(second) == [9], "that is what is refused"
    host = lab.hosts[1]
    host.start()
    assert "10.7.0.1" in host.run("nft list set inet walt_underlay hosts"), "also while netemu restarts"
    host.reconcile(lab.fabric(host))
    assert "10.7.0.9" not in host.run("nft list set inet walt_underlay hosts")


def test_a_node_reaches_no_host_through_nat(lab):
    """What it sends comes from the address of a host, and would be taken for a frame of any network."""
    host, node = lab.hosts[0], lab.node(1, lab.hosts[0])
    lab.wire.run("ip addr add 10.7.0.9/24 dev wire")
    host.attach(node)
    lab.reconcile()
    with host.inside():
        nat = Nat([])
        nat.replace([], [node.ip])
        guest = Guest("vn1e2", 1)
    settle(guest)
    wire = host.sniffer()
    for address in ("10.7.0.2", "10.7.0.9"):
        head = bytes.fromhex(f"{host.address.mac}{node.walt_net.mac}0800".replace(":", ""))
        guest.send_raw(head + udp_packet(node.ip, address, b"to " + address.encode()))
    time.sleep(QUIET_S)
    sent = b"".join(read_all(wire))
    assert b"to 10.7.0.9" in sent and b"to 10.7.0.2" not in sent
    guest.close()


def udp_packet(source: str, target: str, payload: bytes) -> bytes:
    udp = struct.pack("!HHHH", 5000, VXLAN_PORT, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    return head[:10] + struct.pack("!H", 0xFFFF - ones_sum(head)) + head[12:] + udp
