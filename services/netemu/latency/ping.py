"""ICMP echo to several nodes in turn. The kernel's receive timestamps make it exact even in a busy process."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Iterable

_SO_TIMESTAMPNS = 35
_ECHO, _REPLY = 8, 0
_PAYLOAD = bytes(56)

CLOSE_S = 0.02
APART_S = 0.2


def ping(addresses: Iterable[str], pairs: int, wait_s: float = 0.5) -> dict[str, list[float]]:
    """{address: round-trip times in microseconds} of the pings that were answered.

    Pings are sent in pairs, the second CLOSE_S after the first, to one address after the other: nodes that answer at
    the same time would compete for the CPUs.
    """
    sent: dict[tuple[str, int], int] = {}
    found: dict[str, list[float]] = {address: [] for address in addresses}
    ident = os.getpid() & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        raw.setblocking(False)
        for pair in range(pairs):
            next_pair_at = time.monotonic() + APART_S
            for address in found:
                for sequence in (2 * pair, 2 * pair + 1):
                    packet = _echo(ident, sequence)
                    sent[address, sequence] = time.time_ns()
                    with contextlib.suppress(OSError):  # no route or no answer to ARP: counts as unanswered
                        raw.sendto(packet, (address, 0))
                    _collect(raw, ident, sent, found, CLOSE_S)
            _collect(raw, ident, sent, found, next_pair_at - time.monotonic())
        if sent:
            _collect(raw, ident, sent, found, wait_s)
    return found


def _collect(
    raw: socket.socket, ident: int, sent: dict[tuple[str, int], int], found: dict[str, list[float]], seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([raw], [], [], left)[0]:
            return
        with contextlib.suppress(BlockingIOError):
            packet, control, _, (address, _port) = raw.recvmsg(2048, 64)
            header = (packet[0] & 15) * 4
            kind, _, _, got_ident, sequence = struct.unpack_from("!BBHHH", packet, header)
            start_ns = sent.pop((address, sequence), None) if kind == _REPLY and got_ident == ident else None
            if start_ns is not None:
                found[address].append((_received_ns(control) - start_ns) / 1000)


def _received_ns(control: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


def _echo(ident: int, sequence: int) -> bytes:
    header = struct.pack("!BBHHH", _ECHO, 0, 0, ident, sequence)
    return struct.pack("!BBHHH", _ECHO, 0, _checksum(header + _PAYLOAD), ident, sequence) + _PAYLOAD


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
