"""Entries of forwarding tables, thousands at a time: of VXLAN devices and of bridges.

A network may have an entry for each of ten thousand nodes. They are written as messages of rtnetlink here, many in one
buffer, since pyroute2 takes a round trip and half a millisecond of the processor for each.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from walt.contracts.errors import Failed

ALL_OTHERS = "00:00:00:00:00:00"  # broadcasts and what has no entry; may have several destinations

_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_REPLACE, _CREATE, _APPEND = 0x100, 0x400, 0x800
_FAMILY_BRIDGE = 7
_SELF, _MASTER, _STICKY = 2, 4, 0x40
_NOARP, _PERMANENT = 0x40, 0x80
_DST, _LLADDR = 1, 2
_MESSAGES = 200  # in one buffer
_RECEIVED_BYTES = 2**17


@dataclass(frozen=True)
class ForwardingEntry:
    """index: of the interface. address: of a VXLAN device, the host to which frames for this MAC go; "" of the port of
    a bridge: they go out through it, and no frame from another port moves the entry."""

    index: int
    mac: str
    address: str = ""


def change_entries(added: Iterable[ForwardingEntry], removed: Iterable[ForwardingEntry]) -> None:
    """In this order, so that a MAC address that gets another host is never without one. Doing it again changes nothing.
    Failed when the kernel refuses one; the others are done."""
    messages = [*map(_addition, added), *map(_removal, removed)]
    with _opened() as netlink:
        faults = [fault for first in range(0, len(messages), _MESSAGES) for fault in _send(netlink, messages[first:])]
    if faults:
        raise Failed(f"the kernel refuses entries of a forwarding table: {os.strerror(-faults[0])}")


def read_entries() -> set[ForwardingEntry]:
    """All of VXLAN devices, and those of bridges that are not learned."""
    with _opened() as netlink:
        netlink.send(_message(_GETNEIGH, _REQUEST | _DUMP, struct.pack("=B3xiHBB", _FAMILY_BRIDGE, 0, 0, 0, 0)))
        found = set[ForwardingEntry]()
        while True:
            for kind, body in _split(netlink.recv(_RECEIVED_BYTES)):
                if kind in (_DONE, _ERROR):
                    return found
                entry = _parse(body)
                if entry is not None:
                    found.add(entry)


def _addition(entry: ForwardingEntry) -> bytes:
    flags = _CREATE | (_APPEND if entry.mac == ALL_OTHERS else _REPLACE)
    return _message(_NEWNEIGH, _REQUEST | flags, _body(entry))


def _removal(entry: ForwardingEntry) -> bytes:
    return _message(_DELNEIGH, _REQUEST, _body(entry))


def _body(entry: ForwardingEntry) -> bytes:
    state, flags = (_PERMANENT, _SELF) if entry.address else (_NOARP, _MASTER | _STICKY)
    head = struct.pack("=B3xiHBB", _FAMILY_BRIDGE, entry.index, state, flags, 0)
    mac = struct.pack("=HH6s2x", 10, _LLADDR, bytes.fromhex(entry.mac.replace(":", "")))
    return head + mac + (struct.pack("=HH4s", 8, _DST, socket.inet_aton(entry.address)) if entry.address else b"")


def _message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _send(netlink: socket.socket, messages: Sequence[bytes]) -> list[int]:
    """The first _MESSAGES of them, and why the kernel refuses some. It answers those, and the last."""
    sent = messages[:_MESSAGES]
    last = sent[-1]
    numbered = last[:6] + struct.pack("=HI", struct.unpack_from("=H", last, 6)[0] | _ACK, 1) + last[12:]
    netlink.send(b"".join([*sent[:-1], numbered]))
    faults = []
    while True:
        for kind, body in _split(netlink.recv(_RECEIVED_BYTES)):
            if kind == _ERROR:
                fault, _, _, _, sequence = struct.unpack_from("=iIHHI", body)
                if fault not in (0, -errno.ENOENT):  # what is to be removed may be gone
                    faults.append(fault)
                if sequence == 1:
                    return faults


def _parse(body: bytes) -> ForwardingEntry | None:
    _, index, state, flags, _ = struct.unpack_from("=B3xiHBB", body)
    attributes = dict(_attributes(body[12:]))
    mac = attributes.get(_LLADDR, b"").hex(":")
    if flags & _SELF and _DST in attributes:
        return ForwardingEntry(index, mac, socket.inet_ntoa(attributes[_DST]))
    if not flags & _SELF and state == _NOARP:
        return ForwardingEntry(index, mac)
    return None


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, body) of each message."""
    place = 0
    while place < len(data):
        length, kind = struct.unpack_from("=IH", data, place)
        yield kind, data[place + 16 : place + length]
        place += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data):
        length, kind = struct.unpack_from("=HH", data, place)
        yield kind, data[place + 4 : place + length]
        place += (length + 3) & ~3


@contextlib.contextmanager
def _opened() -> Iterator[socket.socket]:
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.bind((0, 0))
            yield netlink
    except OSError as error:
        raise Failed(f"forwarding tables cannot be read or changed: {error.strerror}") from None
