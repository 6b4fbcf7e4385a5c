"""Whether the other hosts answer at their underlay addresses, and the largest packet that gets there in one piece."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence

from walt.contracts.errors import Failed

WAIT_S = 1.0
TRIED_MTUS = (9000, 1600, 1550, 1500, 1450, 1400, 1280, 576)  # those below that of the route
RECEIVE_BUFFER_BYTES = 4 * 2**20

_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3  # DF is set; what was learned of the path counts for nothing
_IP_MTU = 14
_SIOCGIFADDR = 0x8915
_HEADERS_BYTES = 28
_ECHO, _REPLY = 8, 0
_ANY_PORT = 9


def own_address(underlay: str, interface: str) -> str:
    """The address from which this host sends to the others: that of the interface, where one is named (a container,
    to which the engine hands on what comes to the underlay address). Failed when it has none."""
    if not interface or not underlay:
        return underlay
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            found = fcntl.ioctl(one, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
    except OSError as error:
        raise Failed(f"WALT_UNDERLAY_INTERFACE={interface}: it has no IPv4 address: {error.strerror}") from None
    return socket.inet_ntoa(found[20:24])


def measure_mtus(own: str, addresses: Iterable[str]) -> dict[str, int]:
    """{address: MTU of the path, 0 where nothing answers}; Failed when `own` is not an address of this host."""
    sizes = {address: _sizes(own, address) for address in addresses}
    ident = os.getpid() & 0xFFFF
    with _bound(own, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        for address, tried in sizes.items():
            for size in tried:
                with contextlib.suppress(OSError):  # there is no way
                    raw.sendto(_echo(ident, size), (address, 0))
        found = dict.fromkeys(sizes, 0)
        for address, size in _answers(raw, ident, {(one, size) for one in sizes for size in sizes[one]}):
            found[address] = max(found[address], size)
    return found


def _answers(raw: socket.socket, ident: int, expected: set[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """(address, size) of each echo that comes back."""
    deadline = time.monotonic() + WAIT_S
    while expected and (left := deadline - time.monotonic()) > 0 and select.select([raw], [], [], left)[0]:
        packet, (address, _) = raw.recvfrom(2**16)
        kind, _, _, got_ident, size = struct.unpack_from("!BBHHH", packet, (packet[0] & 15) * 4)
        if (kind, got_ident) == (_REPLY, ident) and (address, size) in expected:
            expected.remove((address, size))
            yield address, size


def _echo(ident: int, size: int) -> bytes:
    """An ICMP message that makes a packet of this size. All else is zero, so that its checksum is simple."""
    total = (_ECHO << 8) + ident + size
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return struct.pack("!BBHHH", _ECHO, 0, checksum, ident, size) + bytes(size - _HEADERS_BYTES)


def _sizes(own: str, address: str) -> Sequence[int]:
    """To be tried on the way to this address: what its route takes, and less. None when there is no route."""
    with _bound(own, socket.SOCK_DGRAM, 0) as one, contextlib.suppress(OSError):
        one.connect((address, _ANY_PORT))
        largest = min(one.getsockopt(socket.IPPROTO_IP, _IP_MTU), 2**16 - 1)
        return [largest, *(size for size in TRIED_MTUS if size < largest)]
    return ()


@contextlib.contextmanager
def _bound(own: str, kind: int, protocol: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, kind, protocol) as one:
        try:
            one.bind((own, 0))
        except OSError as error:
            raise Failed(f"{own} is not an address of this host: {error.strerror}") from None
        yield one
