"""The process of one capture: `python -P -s -S -m services.netemu.capture.process PACKETS LISTENER`.

PACKETS and LISTENER are descriptors: of the AF_PACKET socket, and of the socket on which its one reader connects (see
walt/contracts/netemu.py). Its order is on standard input. Before the first frame it gives up its rights: it can open
nothing and start nothing. It ends with its reader, or when there is none.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import resource
import select
import socket
import sys
import time
from dataclasses import asdict

from services.kit.unprivileged import NOBODY, give_up_rights
from services.netemu.capture import frames
from services.netemu.capture.capture_buffer import CaptureBuffer, CaptureOrder
from services.netemu.kernel import packet_socket
from walt.contracts.netemu import CAPTURE_END, CAPTURE_PIECE, CaptureEnd

READER_LIMIT_S = 10.0  # until it has connected
FLUSH_S = 0.02  # how long few bytes wait for more
LARGEST_FRAME = 2**17  # one of segmentation offload has 64 KiB
ANCILLARY_BYTES = 256
FRAMES_AT_ONCE = 256
SETTLE_TRIES, SETTLE_S = 50, 0.002
NICENESS = 10
POLLED = 2
LIMITS = {
    resource.RLIMIT_AS: 2**27,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NPROC: 0,
}
PORT_IS_GONE = "the port is gone: the node was removed, or has left the network"


class CaptureProcess:
    """Frames from the port, pieces of the file to the reader; neither waits for the other."""

    def __init__(self, order: CaptureOrder, packets: socket.socket, reader: socket.socket) -> None:
        self._blocks = CaptureBuffer(order, time.time_ns())
        self._packets = packets
        self._reader = reader
        self._poll = select.poll()
        self._poll.register(packets, select.POLLIN)
        self._buffer = bytearray(LARGEST_FRAME)
        self._received = 0
        self._piece = b""  # that the reader has not taken yet
        self._flush_at = 0.0
        self._is_full = False  # the reader takes nothing for now
        self._is_asked_to_end = False
        self._fault = ""

    def run(self) -> None:
        """BrokenPipeError, ConnectionResetError: the reader is gone."""
        self._reader.setblocking(False)
        while not (self._is_asked_to_end or self._blocks.is_complete or self._fault):
            self._step()
        end = self._finish()
        self._reader.setblocking(True)
        while piece := self._next_piece():
            self._reader.send(CAPTURE_PIECE + piece)
            self._piece = b""
        self._reader.send(CAPTURE_END + json.dumps(asdict(end)).encode())

    def _step(self) -> None:
        self._poll.register(self._reader, select.POLLIN | (select.POLLOUT if self._is_full else 0))
        ready = dict(self._poll.poll(self._limit_ms()))
        if ready.get(self._reader.fileno(), 0) & (select.POLLIN | select.POLLHUP):
            self._is_asked_to_end = not self._reader.recv(1)
        if self._packets.fileno() in ready:
            if self._blocks.is_empty:
                self._flush_at = time.monotonic() + FLUSH_S
            self._read_frames()
        self._send()

    def _limit_ms(self) -> float | None:
        if self._is_full or self._blocks.is_empty:
            return None
        return max(0.0, self._flush_at - time.monotonic()) * 1000

    def _read_frames(self) -> bool:
        """Whether there may be more."""
        view = memoryview(self._buffer)
        for _ in range(FRAMES_AT_ONCE):
            try:
                size, ancillary, _, address = self._packets.recvmsg_into([self._buffer], ANCILLARY_BYTES)
            except BlockingIOError:
                return False
            except OSError:  # ENETDOWN
                self._fault = PORT_IS_GONE
                return False
            self._received += 1
            time_ns, frame = frames.arrival(bytes(view[:size]), ancillary)
            self._blocks.add(time_ns, frame, frames.direction_of(address[2]))
        return True

    def _send(self) -> None:
        """What has waited long enough, or fills a piece, as far as the reader takes it."""
        self._is_full = False
        while self._piece or self._blocks.is_worth_sending or time.monotonic() >= self._flush_at:
            if not (piece := self._next_piece()):
                return
            try:
                self._reader.send(CAPTURE_PIECE + piece)
            except BlockingIOError:
                self._is_full = True
                return
            self._piece = b""

    def _next_piece(self) -> bytes:
        if not self._piece and not self._blocks.is_empty:
            self._piece = self._blocks.take()
        return self._piece

    def _finish(self) -> CaptureEnd:
        """Take nothing more, and count until each frame that was let through is accounted for."""
        end_ns = time.time_ns()
        packet_socket.attach_filter(self._packets, packet_socket.NOTHING)
        passed = lost = 0
        for _ in range(SETTLE_TRIES):
            while self._read_frames():
                pass
            news = packet_socket.statistics(self._packets)
            passed, lost = passed + news[0], lost + news[1]
            if passed == self._received + lost:
                break
            time.sleep(SETTLE_S)
        self._blocks.finish(end_ns, lost)
        return CaptureEnd(self._blocks.captured, self._blocks.missed, self._fault)


def accept(listener: socket.socket, key: str) -> socket.socket:
    """The reader. Who does not know the key is turned away; SystemExit when none comes."""
    deadline = time.monotonic() + READER_LIMIT_S
    while (left_s := deadline - time.monotonic()) > 0:
        listener.settimeout(left_s)
        with contextlib.suppress(OSError):
            reader, _ = listener.accept()
            reader.settimeout(max(0.001, deadline - time.monotonic()))
            if hmac.compare_digest(reader.recv(len(key)), key.encode()):
                listener.close()
                return reader
            reader.close()
    raise SystemExit


def main() -> None:
    order = CaptureOrder(**json.load(sys.stdin))
    packets, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    give_up_rights(NOBODY, LIMITS)
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    reader = accept(listener, order.key)
    resource.setrlimit(resource.RLIMIT_NOFILE, (POLLED, POLLED))  # as many as poll may have; their numbers are taken
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        CaptureProcess(order, packets, reader).run()


if __name__ == "__main__":
    main()
