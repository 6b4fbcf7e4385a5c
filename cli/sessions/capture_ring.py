"""The newest frames of a capture, as blocks of its pcapng file: what was before them is forgotten. Pure."""

from __future__ import annotations

import struct
from collections import deque

MAX_BYTES = 256 * 2**20  # of the frames that are kept
ENHANCED_PACKET = 6
_HEAD = struct.Struct("<II")  # kind and length of a block
_TIME = struct.Struct("<II")  # of a packet, behind its interface: the upper and the lower half


class CaptureRing:
    """seconds: before the newest frame, by the times of the frames themselves, which are in nanoseconds. frames: how
    many are kept; forgotten: how many are not."""

    def __init__(self, seconds: float, max_bytes: int = MAX_BYTES) -> None:
        self.forgotten = 0
        self._kept_ns = round(seconds * 1e9)
        self._max_bytes = max_bytes
        self._pending = b""  # a block of which the rest is yet to come
        self._before = b""  # what describes the file and its interface
        self._after = b""  # the statistics at its end
        self._frames = deque[tuple[int, bytes]]()  # (time, block)
        self._bytes = 0

    @property
    def frames(self) -> int:
        return len(self._frames)

    def add(self, piece: bytes) -> None:
        """The next bytes of the file."""
        data = self._pending + piece
        start = 0
        while len(data) - start >= _HEAD.size:
            kind, length = _HEAD.unpack_from(data, start)
            if length < 12 or len(data) - start < length:
                break
            self._add_block(kind, data[start : start + length])
            start += length
        self._pending = data[start:]

    def content(self) -> bytes:
        """A whole file."""
        return b"".join([self._before, *(block for _, block in self._frames), self._after])

    def _add_block(self, kind: int, block: bytes) -> None:
        if kind != ENHANCED_PACKET:
            if self._frames or self.forgotten:
                self._after += block
            else:
                self._before += block
            return
        upper, lower = _TIME.unpack_from(block, 12)
        time_ns = upper << 32 | lower
        self._frames.append((time_ns, block))
        self._bytes += len(block)
        while self._frames[0][0] < time_ns - self._kept_ns or self._bytes > self._max_bytes:
            self._bytes -= len(self._frames.popleft()[1])
            self.forgotten += 1
