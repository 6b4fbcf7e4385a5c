"""Both ends of a link in one pcapng file, with what the link did to each frame. Pure.

A frame that one node sends and the other receives has one packet id in both places, and a comment at each. All is seen
from the ends alone, so it holds for whatever carries the link. What the bytes differ in on the way is left out of the
comparison: the checksum of TCP and UDP, which the host completes.
"""

from __future__ import annotations

import contextlib
import struct
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from walt.contracts.errors import Failed

WAIT_NS = 5_000_000_000  # a frame that has not arrived by then, does not
MAX_BYTES = 64 * 2**20  # of the frames that wait
MAX_BLOCK_BYTES = 2**20
MAX_COPIES = 10_000  # so many frames are remembered, of which a copy may come
MAX_COMPARED = 1_000  # so many unexplained frames, to find one with a bit inverted
FOLLOWED_BYTES = 1518  # of the longest that is not left whole by segmentation offload for sure
INTERFACE, STATISTICS, PACKET = 1, 5, 6  # kinds of blocks
INBOUND, OUTBOUND = 1, 2
TCP, UDP = 6, 17

_HEAD = struct.Struct("<II")
_PACKET = struct.Struct("<IIIII")  # interface, upper and lower half of the time, bytes that are here and that were
_COMMENT, _FLAGS, _PACKET_ID = 1, 2, 5
_VLAN_TAGS = (b"\x81\x00", b"\x88\xa8")
_CHECKSUM_AT = {TCP: 16, UDP: 6}


@dataclass(eq=False)
class _Frame:
    """number: its packet id; is_settled: nothing more is to be told of it; order: among those sent at its end."""

    end: int
    time_ns: int
    direction: int
    data: bytes
    number: int
    key: bytes
    comment: str = ""
    is_settled: bool = False
    order: int = 0


class CapturePair:
    """names, macs: of the two nodes. Pieces of the two captures go in, pieces of the one file come out."""

    def __init__(self, names: Sequence[str], macs: Sequence[str], wait_ns: int = WAIT_NS) -> None:
        self._names = names
        self._macs = [bytes.fromhex(mac.replace(":", "")) for mac in macs]
        self._wait_ns = wait_ns
        self._pending = [b"", b""]
        self._prologue: list[list[bytes]] = [[], []]  # of each capture, until its interface is known
        self._epilogue: list[bytes] = []
        self._is_begun = False
        self._frames: list[deque[_Frame]] = [deque(), deque()]  # by end, in the order of their times
        self._sent = defaultdict[tuple[int, bytes], deque[_Frame]](deque)  # by end and content; not yet received
        self._received = defaultdict[tuple[int, bytes], deque[_Frame]](deque)  # by end of the sender; not yet explained
        self._arrived: dict[tuple[int, bytes], _Frame] = {}  # sent frames whose copy may still come
        self._latest = [0, 0]  # the orders of the frames that arrived last, by end of the sender
        self._newest_ns = self._count = self._bytes = 0

    def add(self, end: int, piece: bytes) -> bytes:
        """The next bytes of the capture at that end (0, 1); what can be written by now."""
        data, start = self._pending[end] + piece, 0
        while len(data) - start >= _HEAD.size:
            kind, length = _HEAD.unpack_from(data, start)
            if not 12 <= length <= MAX_BLOCK_BYTES:
                raise Failed(f"what comes from {self._names[end]} is no capture")
            if len(data) - start < length:
                break
            self._take_block(end, kind, data[start : start + length])
            start += length
        self._pending[end] = data[start:]
        return self._written(is_end=False)

    def finish(self) -> bytes:
        """The rest of the file."""
        return self._written(is_end=True) + b"".join(self._epilogue)

    def _take_block(self, end: int, kind: int, block: bytes) -> None:
        if kind == PACKET:
            self._take_packet(end, block)
        elif kind == STATISTICS:
            self._epilogue.append(block[:8] + struct.pack("<I", end) + block[12:])
        else:
            self._prologue[end].append(block)

    def _take_packet(self, end: int, block: bytes) -> None:
        _, high, low, size, _ = _PACKET.unpack_from(block, _HEAD.size)
        start = _HEAD.size + _PACKET.size
        data = block[start : start + size]
        (direction,) = struct.unpack_from("<4xI", block, start + size + -size % 4)  # its flags are its first option
        self._count += 1
        frame = _Frame(end, high << 32 | low, direction & 3, data, self._count, comparable(data), order=self._count)
        self._frames[end].append(frame)
        self._bytes += len(data)
        self._newest_ns = max(self._newest_ns, frame.time_ns)
        (self._take_sent if frame.direction == OUTBOUND else self._take_received)(frame)

    def _take_sent(self, frame: _Frame) -> None:
        waiting = self._received.get((frame.end, frame.key))
        if waiting and waiting[0].time_ns >= frame.time_ns:
            self._match(frame, waiting.popleft())
        elif self._is_for_the_other(frame):
            self._sent[frame.end, frame.key].append(frame)
        else:
            frame.is_settled = True

    def _take_received(self, frame: _Frame) -> None:
        sender = 1 - frame.end
        waiting = self._sent.get((sender, frame.key))
        if waiting and waiting[0].time_ns <= frame.time_ns:
            self._match(waiting.popleft(), frame)
        elif (first := self._arrived.get((sender, frame.key))) is not None:
            frame.number, frame.is_settled = first.number, True
            frame.comment = f"a copy, delayed {_ms(frame.time_ns - first.time_ns)}"
        else:
            self._received[sender, frame.key].append(frame)

    def _match(self, sent: _Frame, received: _Frame, what: str = "") -> None:
        received.number, received.order = sent.number, sent.order
        sent.comment = received.comment = f"{what}delayed {_ms(received.time_ns - sent.time_ns)}"
        sent.is_settled = received.is_settled = True
        self._arrived[sent.end, sent.key] = sent
        if sent.order < self._latest[sent.end]:
            received.comment += ", was overtaken"
        self._latest[sent.end] = max(sent.order, self._latest[sent.end])

    def _is_for_the_other(self, frame: _Frame) -> bool:
        receiver = frame.data[:6]
        is_group = bool(receiver) and bool(receiver[0] & 1)
        return len(frame.data) <= FOLLOWED_BYTES and (is_group or receiver == self._macs[1 - frame.end])

    def _written(self, *, is_end: bool) -> bytes:
        if not self._is_begun and not (is_end or all(_has_interface(blocks) for blocks in self._prologue)):
            return b""
        pieces = [] if self._is_begun else self._beginning()
        self._is_begun = True
        while frame := self._next(is_end):
            self._frames[frame.end].popleft()
            self._bytes -= len(frame.data)
            self._forget(frame)
            pieces.append(_block(frame))
        return b"".join(pieces)

    def _beginning(self) -> list[bytes]:
        """The section of the first; the interfaces of both."""
        first, second = self._prologue
        return [*first, *(block for block in second if _HEAD.unpack_from(block)[0] == INTERFACE)]

    def _next(self, is_end: bool) -> _Frame | None:
        """The oldest, if nothing more is to be told of it, or it has waited for long enough."""
        heads = [frames[0] for frames in self._frames if frames]
        if not heads:
            return None
        oldest = min(heads, key=lambda frame: frame.time_ns)
        is_old = is_end or self._bytes > MAX_BYTES or self._newest_ns - oldest.time_ns > self._wait_ns
        if not oldest.is_settled and is_old:
            self._give_up(oldest)
        return oldest if oldest.is_settled else None

    def _give_up(self, frame: _Frame) -> None:
        frame.is_settled = True
        if frame.direction != OUTBOUND:
            return
        for received, bit in self._nearly(frame):
            self._match(frame, received, f"bit {bit} inverted, ")
            return
        frame.comment = f"did not arrive at {self._names[1 - frame.end]}"

    def _nearly(self, sent: _Frame) -> Iterator[tuple[_Frame, int]]:
        """Those that came with one bit inverted; which bit, from the first of the frame on."""
        for (sender, key), received in list(islice(self._received.items(), MAX_COMPARED)):
            if sender == sent.end and received and len(key) == len(sent.key) and received[0].time_ns >= sent.time_ns:
                differs = int.from_bytes(key) ^ int.from_bytes(sent.key)
                if differs.bit_count() == 1:
                    yield received.popleft(), 8 * len(key) - differs.bit_length()

    def _forget(self, frame: _Frame) -> None:
        """What is written is compared with nothing more, but for its copies."""
        is_sent = frame.direction == OUTBOUND
        table, place = (self._sent if is_sent else self._received), (frame.end if is_sent else 1 - frame.end, frame.key)
        if waiting := table.get(place):
            with contextlib.suppress(ValueError):
                waiting.remove(frame)
        if place in table and not table[place]:
            del table[place]
        if len(self._arrived) > MAX_COPIES:
            del self._arrived[next(iter(self._arrived))]


def comparable(frame: bytes) -> bytes:
    """The frame without what the host may still complete."""
    at = 12
    while frame[at : at + 2] in _VLAN_TAGS:
        at += 4
    kind, at = frame[at : at + 2], at + 2
    if kind == b"\x08\x00" and len(frame) >= at + 20 and not int.from_bytes(frame[at + 6 : at + 8]) & 0x3FFF:
        protocol, payload = frame[at + 9], at + 4 * (frame[at] & 15)
    elif kind == b"\x86\xdd" and len(frame) >= at + 40:
        protocol, payload = frame[at + 6], at + 40
    else:
        return frame
    place = payload + _CHECKSUM_AT.get(protocol, len(frame))
    return frame if place + 2 > len(frame) else frame[:place] + b"\0\0" + frame[place + 2 :]


def _has_interface(blocks: Sequence[bytes]) -> bool:
    return any(_HEAD.unpack_from(block)[0] == INTERFACE for block in blocks)


def _block(frame: _Frame) -> bytes:
    size = len(frame.data)
    fixed = _PACKET.pack(frame.end, frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF, size, size)
    options = _option(_FLAGS, struct.pack("<I", frame.direction)) + _option(_PACKET_ID, struct.pack("<Q", frame.number))
    options += _option(_COMMENT, frame.comment.encode()) if frame.comment else b""
    body = fixed + frame.data + bytes(-size % 4) + options + bytes(4)
    length = 12 + len(body)
    return _HEAD.pack(PACKET, length) + body + struct.pack("<I", length)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _ms(time_ns: int) -> str:
    return f"{time_ns / 1e6:.2f} ms"
