"""The real-time loop of the cable: frames in from taps, out to taps when they are due.

Each port is two taps: the kernel redirects what the node sends to `node_end`, the bridge hands what is for it to
`bridge_end`. Frames travel with their virtio headers, so what segmentation offload left whole stays whole. Where each
frame has a fate of its own, or counts, the kernel cuts them and completes their checksums before we read them: else 45 of
them would be lost together, and a checksum left to the receiver would make a corrupted one good.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import heapq
import os
import select
import struct
import time
from collections import deque
from collections.abc import Callable

from services.contracts.links import LinkModel
from services.netemu.cable.fates import Fates, corrupted, tells_frames_apart
from services.netemu.cable.model import RunningMean, Wire, wire_size
from services.netemu.taps import VNET_HEADER_BYTES, open_tap, set_offload

READ_BYTES = 65536 + 14 + 4 + VNET_HEADER_BYTES
MAX_COST_NS = 500_000  # one hiccup is no habit
MAX_HELD_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8  # under way on all ports together
FRAMES_PER_TURN = 16  # of one lane; then what is due has its turn
TAP_IS_GONE = (errno.EBADFD, errno.EIO)  # somebody has removed the interface
_libc = ctypes.CDLL(None, use_errno=True)
_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_ABSTIME = 0o4000, 0o2000000, 1


class Lane:
    """One direction of one port: a tap to read, a tap to write, frames under way between them, first to depart first.

    overtaking: where the frames go that skip the delay (a lane is in order, so these have one of their own).
    """

    __slots__ = ("source", "target", "wire", "flying", "overtaking")

    def __init__(self, source: int, target: int, wire: Wire, overtaking: Lane | None = None) -> None:
        self.source = source
        self.target = target
        self.wire = wire
        self.flying: deque[tuple[int, int, int, bytes]] = deque()  # due, arrived, size, frame
        self.overtaking = overtaking or self


class CablePort:
    def __init__(self, node_end: str, bridge_end: str, link: LinkModel) -> None:
        with contextlib.ExitStack() as undo:
            self.node_end = open_tap(node_end)
            undo.callback(os.close, self.node_end)
            self.bridge_end = open_tap(bridge_end)
            undo.callback(os.close, self.bridge_end)
            self._set_offload(link)
            undo.pop_all()
        self.link = link
        self.up = _lane(self.node_end, self.bridge_end, Wire(link.up))
        self.down = _lane(self.bridge_end, self.node_end, Wire(link.down))

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return (self.up, self.up.overtaking, self.down, self.down.overtaking)

    def set(self, link: LinkModel) -> None:
        self._set_offload(link)
        self.link = link
        self.up.wire.set(link.up)
        self.down.wire.set(link.down)

    def _set_offload(self, link: LinkModel) -> None:
        set_offload(self.node_end, not tells_frames_apart(link.up))
        set_offload(self.bridge_end, not tells_frames_apart(link.down))


def _lane(source: int, target: int, wire: Wire) -> Lane:
    return Lane(source, target, wire, overtaking=Lane(source, target, wire))


class Switch:
    """All ports of the host in one loop."""

    def __init__(self) -> None:
        self.ports: dict[str, CablePort] = {}
        self.lateness = RunningMean(MAX_COST_NS)  # from the moment asked of the timer to our waking up
        self.passing = RunningMean(MAX_COST_NS)  # of a frame alone, from its turn to when it is handed on without delay
        self.writing = RunningMean(MAX_COST_NS)  # of one frame
        self._alone_since_ns = 0  # when the last end that was read had its turn, if it had one frame only
        self._held_bytes = 0
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._heads: list[tuple[int, int, Lane]] = []  # the next frame of each lane that has one
        self._timer = Timer()
        self._armed_ns = 0
        self.watch(self._timer.descriptor, self._timer.acknowledge)

    def set_port(self, tap: str, node_end: str, bridge_end: str, link: LinkModel) -> None:
        if tap in self.ports:
            self.ports[tap].set(link)
            return
        port = self.ports[tap] = CablePort(node_end, bridge_end, link)
        for lane in (port.up, port.down):
            self.watch(lane.source, lambda lane=lane: self._receive(lane))  # type: ignore[misc]

    def drop_port(self, tap: str) -> None:
        port = self.ports.pop(tap, None)
        if port is None:
            return
        self._held_bytes -= sum(len(frame) for lane in port.lanes for *_, frame in lane.flying)
        self._heads = [head for head in self._heads if head[2] not in port.lanes]
        heapq.heapify(self._heads)
        for descriptor in (port.node_end, port.bridge_end):
            self.forget(descriptor)
            os.close(descriptor)

    def watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    @property
    def overhead_ns(self) -> int:
        """What a delayed frame costs besides its delay: here, and in the plain lane of the port it goes to."""
        return int(self.lateness.mean_ns + self.writing.mean_ns + self.passing.mean_ns)

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        events = self._epoll.poll()
        woke_ns = time.monotonic_ns()
        for descriptor, _ in events:
            handler = self._handlers.get(descriptor)
            if descriptor == self._timer.descriptor and self._armed_ns:
                self.lateness.observe(woke_ns - self._armed_ns)
                self._armed_ns = 0
            if handler is not None:
                handler()
                self._send_due()

    def _receive(self, lane: Lane) -> None:
        wire = lane.wire
        turn_ns = time.monotonic_ns()
        self._alone_since_ns = 0
        # Reading wakes up as late as the timer does, so the frame came that much earlier.
        arrival_ns = turn_ns - int(self.lateness.mean_ns)
        if wire.latency_ns:
            arrival_ns -= self.overhead_ns
        for number in range(FRAMES_PER_TURN):
            try:
                frame = os.read(lane.source, READ_BYTES)
            except BlockingIOError:
                self._alone_since_ns = turn_ns if number == 1 else 0
                return
            except OSError as error:
                if error.errno in TAP_IS_GONE:  # epoll would tell of that for ever
                    self.forget(lane.source)
                return
            if self._held_bytes > MAX_HELD_BYTES:
                wire.lose()
                continue
            if wire.fates is not None:
                self._leave_to_chance(lane, wire.fates, arrival_ns, frame)
                continue
            size = wire_size(frame, VNET_HEADER_BYTES)
            due_ns = wire.admit(arrival_ns, size)
            if due_ns is not None:
                self._put_under_way(lane, due_ns, arrival_ns, size, frame)

    def _leave_to_chance(self, lane: Lane, fates: Fates, arrival_ns: int, frame: bytes) -> None:
        fate = fates.next()
        if not fate.copies:
            lane.wire.lose()
            return
        if fate.corrupt_at is not None:
            frame = corrupted(frame, VNET_HEADER_BYTES, fate.corrupt_at)
        size = wire_size(frame, VNET_HEADER_BYTES)
        for _ in range(fate.copies):
            due_ns = lane.wire.admit(arrival_ns, size, fate.jitter_ns, overtakes=fate.overtakes)
            if due_ns is not None:
                self._put_under_way(lane.overtaking if fate.overtakes else lane, due_ns, arrival_ns, size, frame)

    def _put_under_way(self, lane: Lane, due_ns: int, arrival_ns: int, size: int, frame: bytes) -> None:
        if not lane.flying:
            heapq.heappush(self._heads, (due_ns, id(lane), lane))
        lane.flying.append((due_ns, arrival_ns, size, frame))
        self._held_bytes += len(frame)

    def _send_due(self) -> None:
        heads = self._heads
        is_first = True
        while heads:
            now_ns = time.monotonic_ns()
            due_ns, key, lane = heads[0]
            if due_ns > now_ns:
                self._arm(due_ns, now_ns)
                return
            _, arrival_ns, size, frame = lane.flying.popleft()
            self._held_bytes -= len(frame)
            try:
                os.write(lane.target, frame)
                taken = True
            except OSError:  # the other side is down or full
                taken = False
            lane.wire.depart(now_ns, due_ns, size, taken=taken)
            lane.wire.delay.observe(now_ns - arrival_ns)
            if is_first:
                self._observe(lane, now_ns)
                is_first = False
            if lane.flying:
                heapq.heapreplace(heads, (lane.flying[0][0], key, lane))
            else:
                heapq.heappop(heads)

    def _observe(self, lane: Lane, now_ns: int) -> None:
        written_ns = time.monotonic_ns()
        self.writing.observe(written_ns - now_ns)
        if lane.wire.is_plain and self._alone_since_ns:
            self.passing.observe(written_ns - self._alone_since_ns)

    def _arm(self, due_ns: int, now_ns: int) -> None:
        wanted_ns = max(now_ns + 1, due_ns - int(self.lateness.mean_ns))
        if wanted_ns != self._armed_ns:
            self._armed_ns = wanted_ns
            self._timer.arm(wanted_ns)


class Timer:
    """A timerfd on CLOCK_MONOTONIC (os.timerfd_create comes with Python 3.13)."""

    def __init__(self) -> None:
        self.descriptor = _libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def arm(self, at_ns: int) -> None:
        seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
        _libc.timerfd_settime(self.descriptor, _TFD_ABSTIME, struct.pack("4q", 0, 0, seconds, nanoseconds), None)

    def acknowledge(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 8)
