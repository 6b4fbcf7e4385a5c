"""Both ends of a link in one capture: what it says of each frame."""

from __future__ import annotations

import struct

import pytest

from cli.sessions.capture_pair import CapturePair, comparable
from services.netemu.capture import pcapng
from tests.support.pcapng import blocks, options_of

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
MS = 1_000_000
START_NS = 1_790_000_000_000_000_000
WAIT_NS = 1_000 * MS


def frame(text: str, sender=0, receiver="") -> bytes:
    to, by = (bytes.fromhex(mac.replace(":", "")) for mac in (receiver or MACS[1 - sender], MACS[sender]))
    return to + by + b"\x88\xb5" + text.encode()


def packet(at_ms: float, data: bytes, *, sent: bool) -> bytes:
    return pcapng.packet(START_NS + round(at_ms * MS), data, pcapng.OUTBOUND if sent else pcapng.INBOUND)


def shown(pair: CapturePair, *pieces: tuple[int, bytes]) -> list[tuple[int, int, bytes, str]]:
    """(interface, packet id, frame, comment), as written."""
    data = b""
    for end in (0, 1):
        start = pcapng.section_header("c") + pcapng.interface_description(f"vnode{end + 1}", "d")
        data += pair.add(end, start)
    for end, piece in pieces:
        data += pair.add(end, piece)
    for end in (0, 1):
        data += pair.add(end, pcapng.interface_statistics(START_NS, START_NS, 5, 0))
    data += pair.finish()
    found, kinds = [], []
    for kind, body in blocks(data):
        kinds.append(kind)
        if kind == 6:
            interface, high, low, size, _ = struct.unpack("<5I", body[:20])
            options = options_of(body[20 + size + -size % 4 :])
            comment = options.get(1, b"").decode()
            found.append((interface, struct.unpack("<Q", options[5])[0], body[20 : 20 + size], comment))
    assert kinds[:3] == [0x0A0D0D0A, 1, 1] and kinds[-2:] == [5, 5] and kinds.count(0x0A0D0D0A) == 1
    return found


@pytest.fixture
def pair() -> CapturePair:
    return CapturePair(("vnode1", "vnode2"), MACS, WAIT_NS)


@pytest.mark.parametrize("is_swapped", [False, True], ids=["in order", "the receiver's capture comes first"])
def test_a_frame_at_both_ends_has_one_number_and_its_delay(pair, is_swapped):
    data, answer = frame("ping"), frame("pong", sender=1)
    pieces = [(0, packet(0, data, sent=True)), (1, packet(10.02, data, sent=False))]
    pieces += [(1, packet(10.5, answer, sent=True)), (0, packet(30.5, answer, sent=False))]
    found = shown(pair, *sorted(pieces, key=lambda one: (one[0] == 0) == is_swapped))
    assert [(end, data, comment) for end, _, data, comment in found] == [
        (0, data, "delayed 10.02 ms"),
        (1, data, "delayed 10.02 ms"),
        (1, answer, "delayed 20.00 ms"),
        (0, answer, "delayed 20.00 ms"),
    ]
    assert found[0][1] == found[1][1] != found[2][1] == found[3][1]


def test_what_does_not_arrive_is_said_also_while_nothing_has_ended(pair):
    lost, later = frame("lost"), frame("later")
    data = b"".join(
        pair.add(end, pcapng.section_header("c") + pcapng.interface_description("x", "d")) for end in (0, 1)
    )
    assert len(blocks(data)) == 3
    assert pair.add(0, packet(0, lost, sent=True)) == b""
    data = pair.add(0, packet(1001, later, sent=True))
    assert b"did not arrive at vnode2" in data and len(blocks(data)) == 1


def test_copies_frames_that_are_overtaken_and_bits_that_are_inverted(pair):
    one, two, three = frame("one"), frame("two"), frame("three")
    inverted = three[:15] + bytes([three[15] ^ 1]) + three[16:]
    pieces = [(0, packet(at, data, sent=True)) for at, data in ((0, one), (1, two), (2, three))]
    arrivals = ((5, two), (6, one), (7, one), (8, inverted))
    found = shown(pair, *pieces, *((1, packet(at, data, sent=False)) for at, data in arrivals))
    assert [comment for _, _, _, comment in found] == [
        "delayed 6.00 ms",
        "delayed 4.00 ms",
        "bit 127 inverted, delayed 6.00 ms",
        "delayed 4.00 ms",
        "delayed 6.00 ms, was overtaken",
        "a copy, delayed 7.00 ms",
        "bit 127 inverted, delayed 6.00 ms",
    ]
    assert [number for _, number, _, _ in found] == [1, 2, 3, 2, 1, 1, 3]


def test_of_what_is_not_for_the_other_end_nothing_is_said(pair):
    elsewhere, whole = frame("x", receiver="52:54:00:00:00:99"), frame("x" * 2000)
    stranger = frame("y")
    pieces = [(0, packet(0, elsewhere, sent=True)), (0, packet(1, whole, sent=True))]
    found = shown(pair, *pieces, (1, packet(2, stranger, sent=False)))
    assert [(data, comment) for _, _, data, comment in found] == [(elsewhere, ""), (whole, ""), (stranger, "")]


def test_a_checksum_that_the_host_completes_makes_no_other_frame():
    """IPv4 and IPv6, with and without a VLAN tag; not of a fragment, nor of what is cut short."""
    head = bytes(12)
    ipv4 = b"\x08\x00" + bytes([0x45, 0, 0, 48, 0, 0, 0x40, 0, 64, 17]) + bytes(10)
    ipv6 = b"\x86\xdd" + bytes([0x60, 0, 0, 0, 0, 20, 6]) + bytes(33)
    udp, tcp = b"ppqqLL", b"t" * 16
    for ip, start in ((ipv4, udp), (ipv6, tcp)):
        for tag in (b"", b"\x81\x00\x00\x05"):
            a, b = (head + tag + ip + start + checksum + b"data" for checksum in (b"\x12\x34", b"\x56\x78"))
            assert comparable(a) == comparable(b) and len(comparable(a)) == len(a)
            assert comparable(a) != comparable(b[:-1] + b"!")
    fragment = ipv4[:8] + b"\x20\x00" + ipv4[10:]
    assert comparable(head + fragment + udp + b"\x12\x34") != comparable(head + fragment + udp + b"\x56\x78")
    for size in range(70):
        assert len(comparable((head + ipv4 + udp)[:size])) == min(size, len(head + ipv4 + udp))


def test_pieces_of_any_size_are_the_same_file():
    whole, split = (CapturePair(("a", "b"), MACS, WAIT_NS) for _ in range(2))
    head = pcapng.section_header("c") + pcapng.interface_description("x", "d")
    ends = [head + packet(0, frame("ping"), sent=True), head + packet(3, frame("ping"), sent=False)]
    at_once = b"".join(whole.add(end, data) for end, data in enumerate(ends)) + whole.finish()
    by_byte = b"".join(split.add(end, data[i : i + 1]) for end, data in enumerate(ends) for i in range(len(data)))
    assert by_byte + split.finish() == at_once
