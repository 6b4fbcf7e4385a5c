"""NTP messages of a server and its clients (RFC 5905, figure 8), without extensions or keys. Pure.

Times are nanoseconds since 1970.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SIZE = 48  # bytes; what follows in a message is extensions
CLIENT, SERVER = 3, 4  # modes
VERSION = 4
STRATUM = 10  # behind every server that is nearer to a clock: a node that has one of those follows it
UNSYNCHRONISED = 3  # leap indicator
NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970
ERA_S = 2**32  # NTP counts seconds in 32 bits, anew from 2036 on

_POLL = 6  # log2 of seconds: what a client is advised
_PRECISION = -20  # log2 of seconds
_DISPERSION = 0x42  # of 2**16 a second: 1 ms
_REFERENCE = b"LOCL"
_LAYOUT = struct.Struct("!BBbbII4sQQQQ")


@dataclass(frozen=True)
class NtpAnswer:
    """received_ns, sent_ns: by the server's clock; origin: what the client sent as its time, as it is on the wire."""

    origin: int
    received_ns: int
    sent_ns: int


def request(origin: int) -> bytes:
    """origin: what the answer must repeat, 64 bits."""
    return _LAYOUT.pack(VERSION << 3 | CLIENT, 0, 0, 0, 0, 0, bytes(4), 0, 0, 0, origin)


def answer(message: bytes, received_ns: int) -> bytes | None:
    """All but the time at which it is sent, the last 8 bytes; None: the message is no request of a client, and gets no
    answer. An answer is never longer than its request."""
    if len(message) < SIZE:
        return None
    first, _, poll, *_, origin = _LAYOUT.unpack_from(message)
    version = first >> 3 & 7
    if first & 7 != CLIENT or not 1 <= version <= VERSION:
        return None
    received = timestamp(received_ns)
    head = (version << 3 | SERVER, STRATUM, max(poll, _POLL), _PRECISION, 0, _DISPERSION, _REFERENCE)
    return _LAYOUT.pack(*head, received, origin, received, 0)[:-8]


def parse_answer(message: bytes) -> NtpAnswer:
    """ValueError, which says why, when it is not the answer of a server that has the time."""
    if len(message) < SIZE:
        raise ValueError(f"it answers with {len(message)} bytes instead of {SIZE}")
    first, stratum, *_, origin, received, sent = _LAYOUT.unpack_from(message)
    if first & 7 != SERVER:
        raise ValueError(f"it answers as mode {first & 7} instead of {SERVER}, a server")
    if first >> 6 == UNSYNCHRONISED or not 1 <= stratum < 16:
        raise ValueError("it says that it does not have the time")
    return NtpAnswer(origin, nanoseconds(received), nanoseconds(sent))


def timestamp(at_ns: int) -> int:
    """Of that time on the wire: 32 bits of seconds, 32 of their fraction."""
    seconds, rest = divmod(at_ns, 10**9)
    return (seconds + NTP_EPOCH_S) % ERA_S << 32 | (rest << 32) // 10**9


def nanoseconds(stamp: int) -> int:
    """The time from 1968 to 2104 that has this timestamp."""
    seconds = stamp >> 32
    seconds += 0 if seconds >= ERA_S // 2 else ERA_S
    return (seconds - NTP_EPOCH_S) * 10**9 + ((stamp & 0xFFFFFFFF) * 10**9 >> 32)
