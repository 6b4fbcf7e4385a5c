"""One capture in memory: blocks that wait for their reader, up to a bound, and exact counts. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from services.netemu.capture import pcapng

QUEUE_BYTES = 8 * 2**20
BLOCK_BYTES = 100  # that a block takes in memory beside its bytes
PIECE_BYTES = 65_536  # blocks that leave together; one may be longer


@dataclass(frozen=True)
class CaptureOrder:
    """What one capture is to be. comment, name, description: of the file; expression: of its filter; count: it ends by
    itself after so many frames (0: never); key: whoever reads it shows it first."""

    comment: str
    name: str
    description: str
    expression: str
    count: int
    key: str


class CaptureBuffer:
    """The frames from `start_ns` on; the blocks of a pcapng file, in their order."""

    def __init__(self, order: CaptureOrder, start_ns: int, queue_bytes: int = QUEUE_BYTES) -> None:
        self.captured = 0
        self.missed = 0  # for which there was no room
        self._count = order.count
        self._start_ns = start_ns
        self._queue_bytes = queue_bytes
        self._blocks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._put(pcapng.section_header(order.comment))
        self._put(pcapng.interface_description(order.name, order.description, order.expression))

    @property
    def is_complete(self) -> bool:
        return 0 < self._count <= self.captured

    @property
    def is_empty(self) -> bool:
        return not self._blocks

    @property
    def is_worth_sending(self) -> bool:
        return self._waiting_bytes >= PIECE_BYTES

    def add(self, time_ns: int, frame: bytes, direction: int) -> None:
        if self.is_complete:
            return
        block = pcapng.packet(time_ns, frame, direction)
        if self._waiting_bytes + len(block) + BLOCK_BYTES > self._queue_bytes:
            self.missed += 1
            return
        self.captured += 1
        self._put(block)

    def finish(self, end_ns: int, missed_before: int) -> None:
        """missed_before: frames that the kernel had no room for."""
        self.missed += missed_before
        seen = self.captured + self.missed
        self._put(pcapng.interface_statistics(self._start_ns, end_ns, seen, self.missed))

    def take(self) -> bytes:
        """The next piece, of whole blocks."""
        taken = [self._blocks.popleft()]
        size = len(taken[0])
        while self._blocks and size + len(self._blocks[0]) <= PIECE_BYTES:
            taken.append(self._blocks.popleft())
            size += len(taken[-1])
        self._waiting_bytes -= size + BLOCK_BYTES * len(taken)
        return b"".join(taken)

    def _put(self, block: bytes) -> None:
        self._blocks.append(block)
        self._waiting_bytes += len(block) + BLOCK_BYTES
