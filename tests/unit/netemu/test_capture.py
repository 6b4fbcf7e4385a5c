"""Captures, as far as they are decided without effects: what has room, what is counted, what a filter may be."""

from __future__ import annotations

import struct

import pytest

from services.netemu.capture import filter_program, frames, pcapng
from services.netemu.capture.capture_buffer import BLOCK_BYTES, PIECE_BYTES, CaptureBuffer, CaptureOrder
from services.netemu.capture.captures import order_of, port_of
from services.netemu.ports.port import Port
from tests.support import pcapng as reader
from walt.contracts.errors import Conflict, Failed, InvalidRequest, NotFound
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CaptureTarget, OpenCapture
from walt.contracts.nodes import Network

FRAME = bytes(14) + b"x" * 86
WALT_PORT = Port(1, "vnode1", "alice", 2, Network(0, "walt-net", ""))
HOME_PORT = Port(1, "vnode1", "alice", 3, Network(5, "home-net", "alice"), LinkModel(Direction(10_000)))


def buffer(count=0, **bounds):
    return CaptureBuffer(CaptureOrder("c", "n", "d", "", count, "k"), 1, **bounds)


def drained(one):
    pieces = []
    while not one.is_empty:
        pieces.append(one.take())
    return pieces


def test_what_has_no_room_is_counted_and_left_out():
    one = buffer(queue_bytes=5000)
    for number in range(100):
        one.add(number, FRAME, pcapng.INBOUND)
    captured = one.captured
    assert 0 < captured < 50 and captured + one.missed == 100
    drained(one)
    one.add(100, FRAME, pcapng.INBOUND)
    assert one.captured == captured + 1, "there is room again"
    one.finish(200, missed_before=7)
    assert one.missed == 100 - captured + 7
    assert one.captured + one.missed == 108


def test_the_end_of_the_file_has_room_always():
    one = buffer(queue_bytes=0)
    one.add(1, FRAME, pcapng.INBOUND)
    one.finish(2, 0)
    assert reader.read(b"".join(drained(one))).statistics == (1, 1)


def test_it_is_complete_after_its_number_of_frames():
    one = buffer(count=2)
    for number in range(5):
        assert one.is_complete == (number >= 2)
        one.add(number, FRAME, pcapng.INBOUND)
    assert (one.captured, one.missed) == (2, 0)


def test_pieces_are_of_whole_blocks():
    one = buffer()
    for number in range(2000):
        one.add(number, FRAME, pcapng.INBOUND)
    one.add(2000, bytes(70_000), pcapng.INBOUND)
    assert one.is_worth_sending
    pieces = drained(one)
    assert not one.is_worth_sending and one._waiting_bytes == 0
    assert all(len(piece) <= PIECE_BYTES for piece in pieces[:-1]) and len(pieces[-1]) > 70_000
    assert len(pieces) < 10
    assert [one.time_ns for one in reader.read(b"".join(pieces)).frames] == list(range(2001))
    assert BLOCK_BYTES > 0


def auxdata(status, tag=0, protocol=0):
    return frames.SOL_PACKET, frames.PACKET_AUXDATA, struct.pack("=IIIHHHH", status, 100, 100, 0, 14, tag, protocol)


def test_a_frame_has_its_time_and_its_tag():
    frame = bytes(range(12)) + b"\x08\x00" + b"payload"
    time = (frames.SOL_SOCKET, frames.SO_TIMESTAMPNS, struct.pack("qq", 1_790_000_000, 999_999_999))
    assert frames.arrival(frame, [time, auxdata(1)]) == (1_790_000_000_999_999_999, frame)
    assert frames.arrival(frame, [auxdata(0x51, 5, 0x88A8)])[1] == frame[:12] + b"\x88\xa8\x00\x05" + frame[12:]
    assert frames.arrival(frame, [auxdata(0x11, 0x2005)])[1] == frame[:12] + b"\x81\x00\x20\x05" + frame[12:]


def test_directions_are_those_of_the_node():
    assert frames.direction_of(frames.PACKET_OUTGOING) == pcapng.INBOUND
    assert {frames.direction_of(one) for one in (0, 1, 2, 3)} == {pcapng.OUTBOUND}


def test_program_of_a_filter():
    assert filter_program.parse("2\n40 0 0 12\n6 0 0 262144\n") == [(40, 0, 0, 12), (6, 0, 0, 262144)]
    for output in ("", "2\n6 0 0 0\n", "0\n", "1\na b c d\n", "1\n6 0\n"):
        with pytest.raises(Failed, match="prints no program"):
            filter_program.parse(output)


def test_filter_is_one_argument_of_a_process_without_rights():
    argv = filter_program.argv("vn1e3", "-r /etc/passwd")
    assert argv[-2:] == ["--", "-r /etc/passwd"]
    assert {"--reuid=65534", "--no-new-privs", "--nproc=0", "--fsize=0", "--ambient-caps=+net_raw"} < set(argv)


def test_refusal_of_a_filter_has_its_reason():
    errors = "tcpdump: listening on x\ntcpdump: can't parse filter expression: syntax error\n"
    refused = filter_program.refusal("tcp prot 80", 1, errors)
    assert isinstance(refused, InvalidRequest)
    assert str(refused).startswith("filter 'tcp prot 80': can't parse filter expression: syntax error; allowed: ")
    assert "takes too much time or memory to compile" in str(filter_program.refusal("x", -9, ""))
    assert "ended with status 2" in str(filter_program.refusal("x", 2, ""))
    assert len(str(filter_program.refusal("x" * 2000, 2, ""))) < 400


def target(network="home-net", owner="alice"):
    return CaptureTarget(1, "vnode1", owner, network)


def test_port_is_that_of_the_node_on_this_network():
    ports = [WALT_PORT, HOME_PORT]
    assert port_of(target(), ports) is HOME_PORT and port_of(target("walt-net"), ports) is WALT_PORT
    with pytest.raises(NotFound, match="no port on 'lab' now; allowed: home-net, walt-net"):
        port_of(target("lab"), ports)
    with pytest.raises(Conflict, match="has no port yet"):
        port_of(target(), [])


def test_the_network_of_a_former_owner_is_not_captured():
    with pytest.raises(NotFound, match="no port on 'home-net' now; allowed: walt-net"):
        port_of(target(owner="bob"), [WALT_PORT, HOME_PORT])


def test_the_file_says_what_it_is_of():
    order = order_of(HOME_PORT, "icmp", 3, OpenCapture("a", "k"))
    assert order.comment.startswith("node vnode1, network home-net of alice, link lat=10ms: ")
    assert (order.name, order.expression, order.count, order.key) == ("vnode1:home-net", "icmp", 3, "k")
    assert "network walt-net, link plain: " in order_of(WALT_PORT, "", 0, OpenCapture("a", "k")).comment
