"""The real-time loop of the cable: frames in from taps, out to taps when they are due.

Each port has two taps: the kernel redirects what the node sends to `node_end`, the bridge sends what the node
receives to `bridge_end`. Frames keep their virtio headers, so large frames of segmentation offload need not be
segmented. Where frames are impaired or counted one by one, the kernel segments them and completes their checksums
before we read them: otherwise 45 of them would be lost together, and the receiver would not notice that a frame is
corrupt.
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

from services.kit.tun import VNET_HEADER_BYTES, open_tap, set_offload
from services.netemu.cable.impairments import ImpairmentSequence, corrupted, is_per_frame
from services.netemu.cable.model import RunningMean, Wire, wire_size
from walt.contracts.links import LinkModel

READ_BYTES = 65536 + 14 + 4 + VNET_HEADER_BYTES
MAX_COST_NS = 500_000  # so that one hiccup does not spoil a mean
MAX_QUEUED_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8  # in flight on all ports together
FRAMES_PER_TURN = 16  # of one lane; then frames that are due are sent
TAP_IS_GONE = (errno.EBADFD, errno.EIO)  # the interface was removed
_libc = ctypes.CDLL(None, use_errno=True)
_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_ABSTIME = 0o4000, 0o2000000, 1


class Lane:
    """One direction of one port: a tap to read, a tap to write, and the frames in flight, by their departure.

    overtaking: the lane of the frames that skip the delay (each lane keeps its order, so these need one of their own).
    """

    __slots__ = ("source", "target", "wire", "in_flight", "overtaking")

    def __init__(self, source: int, target: int, wire: Wire, overtaking: Lane | None = None) -> None:
        self.source = source
        self.target = target
        self.wire = wire
        self.in_flight: deque[tuple[int, int, int, bytes]] = deque()  # due_ns, arrival_ns, size, frame
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
        set_offload(self.node_end, not is_per_frame(link.up))
        set_offload(self.bridge_end, not is_per_frame(link.down))


def _lane(source: int, target: int, wire: Wire) -> Lane:
    return Lane(source, target, wire, overtaking=Lane(source, target, wire))


class Switch:
    """All ports of the host in one loop."""

    def __init__(self) -> None:
        self.ports: dict[str, CablePort] = {}
        self.lateness = RunningMean(MAX_COST_NS)  # from the expiry of the timer until we run
        self.passing = RunningMean(MAX_COST_NS)  # of a single frame without delay, from reading to writing
        self.writing = RunningMean(MAX_COST_NS)  # of one frame
        self._alone_since_ns = 0  # when the last tap was read, if it had a single frame; else 0
        self._queued_bytes = 0
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._heads: list[tuple[int, int, Lane]] = []  # (due_ns, id, lane): the next frame of each lane that has one
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
        self._queued_bytes -= sum(len(frame) for lane in port.lanes for *_, frame in lane.in_flight)
        self._heads = [head for head in self._heads if head[2] not in port.lanes]
        heapq.heapify(self._heads)
        for descriptor in (port.node_end, port.bridge_end):
            self.unwatch(descriptor)
            os.close(descriptor)

    def watch(self, descriptor: int, handler: Callable[[], None], *, is_writing: bool = False) -> None:
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, select.EPOLLOUT if is_writing else select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    @property
    def overhead_ns(self) -> int:
        """What a delayed frame takes besides its delay: here, and in the plain lane of the port it goes to."""
        return int(self.lateness.mean_ns + self.writing.mean_ns + self.passing.mean_ns)

    def run_once(self, timeout_s: float | None = None) -> None:
        """Wait for events, and handle them."""
        events = self._epoll.poll(timeout_s)
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
        # A read wakes us as late as the timer does, so the frame arrived that much earlier.
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
                if error.errno in TAP_IS_GONE:  # epoll would report it forever
                    self.unwatch(lane.source)
                return
            if self._queued_bytes > MAX_QUEUED_BYTES:
                wire.drop()
                continue
            if wire.impairments is not None:
                self._impair(lane, wire.impairments, arrival_ns, frame)
                continue
            size = wire_size(frame, VNET_HEADER_BYTES)
            due_ns = wire.admit(arrival_ns, size)
            if due_ns is not None:
                self._enqueue(lane, due_ns, arrival_ns, size, frame)

    def _impair(self, lane: Lane, impairments: ImpairmentSequence, arrival_ns: int, frame: bytes) -> None:
        impairment = impairments.next()
        if not impairment.copies:
            lane.wire.drop()
            return
        if impairment.corrupt_at is not None:
            frame = corrupted(frame, VNET_HEADER_BYTES, impairment.corrupt_at)
        size = wire_size(frame, VNET_HEADER_BYTES)
        for _ in range(impairment.copies):
            due_ns = lane.wire.admit(arrival_ns, size, impairment.jitter_ns, overtakes=impairment.overtakes)
            if due_ns is not None:
                self._enqueue(lane.overtaking if impairment.overtakes else lane, due_ns, arrival_ns, size, frame)

    def _enqueue(self, lane: Lane, due_ns: int, arrival_ns: int, size: int, frame: bytes) -> None:
        if not lane.in_flight:
            heapq.heappush(self._heads, (due_ns, id(lane), lane))
        lane.in_flight.append((due_ns, arrival_ns, size, frame))
        self._queued_bytes += len(frame)

    def _send_due(self) -> None:
        heads = self._heads
        is_first = True
        while heads:
            now_ns = time.monotonic_ns()
            due_ns, key, lane = heads[0]
            if due_ns > now_ns:
                self._arm(due_ns, now_ns)
                return
            _, arrival_ns, size, frame = lane.in_flight.popleft()
            self._queued_bytes -= len(frame)
            try:
                os.write(lane.target, frame)
                taken = True
            except OSError:  # the other tap is down or full
                taken = False
            lane.wire.depart(now_ns, due_ns, size, taken=taken)
            lane.wire.delay.observe(now_ns - arrival_ns)
            if is_first:
                self._observe_costs(lane, now_ns)
                is_first = False
            if lane.in_flight:
                heapq.heapreplace(heads, (lane.in_flight[0][0], key, lane))
            else:
                heapq.heappop(heads)

    def _observe_costs(self, lane: Lane, now_ns: int) -> None:
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
