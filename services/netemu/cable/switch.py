"""The real-time loop of the cable: frames in from taps, out to taps when they are due.

After each wait one owner has his turn (fairness.py): a few frames of one of his taps, and a few of his that are due.
So another's storm delays a frame by a turn, whatever waits for its own time, comes in, or is thrown away meanwhile.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections.abc import Callable

from services.kit.tun import VNET_HEADER_BYTES
from services.netemu.cable.fairness import OwnerShares
from services.netemu.cable.frames import read_frame, write_frame
from services.netemu.cable.idle import IdleCpus
from services.netemu.cable.impairments import Impairment, corrupted
from services.netemu.cable.lanes import TAP_IS_GONE, CablePort, Head, Lane, OwnerLanes, memory_of
from services.netemu.cable.model import RunningMean, wire_size
from services.netemu.cable.timer import Timer
from services.netemu.cable.trace import TraceFiles
from walt.contracts.links import LinkModel

MAX_COST_NS = 500_000  # so that one hiccup does not spoil a mean
MAX_QUEUED_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8  # in flight on all ports together
FRAMES_PER_TURN = 16  # that are read, and as many that are sent
FREED_PER_TURN = 64


class Switch:
    """All ports of the host in one loop. traces: that their links may follow."""

    def __init__(self, traces: TraceFiles | None = None) -> None:
        self._traces = traces
        self.ports: dict[str, CablePort] = {}
        self.accounts: dict[str, OwnerLanes] = {}
        self.lateness = RunningMean(MAX_COST_NS)  # from the expiry of the timer until we run
        self.passing = RunningMean(MAX_COST_NS)  # of a single frame without delay, from reading to writing
        self.writing = RunningMean(MAX_COST_NS)  # of one frame
        self._shares = OwnerShares(MAX_QUEUED_BYTES)
        self._idle = IdleCpus()
        self._alone_since_ns = 0  # when the last tap was read, if it had a single frame; else 0
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._by_epoll: dict[int, OwnerLanes] = {}
        self._busy: set[OwnerLanes] = set()  # who has frames to send or to free now, and is not held back
        self._held: list[tuple[int, int, OwnerLanes]] = []  # (until, id, account)
        self._heads: list[Head] = []  # of the frames that are not due yet
        self._timer = Timer()
        self._armed_ns = 0
        self.watch(self._timer.descriptor, self._timer.acknowledge)

    def set_port(self, tap: str, node_end: str, bridge_end: str, link: LinkModel, owner: str = "") -> None:
        port = self.ports.get(tap)
        if port is None:
            port = CablePort(self.account(owner), node_end, bridge_end, link, self._traces)
            self.ports[tap] = port
            port.account.ports += 1
            self._attach(port)
            return
        port.set(link)
        if port.account.share.owner != owner:
            self._change_owner(port, self.account(owner))

    def drop_port(self, tap: str) -> None:
        port = self.ports.pop(tap, None)
        if port is None:
            return
        self._detach(port)
        port.close()
        account = port.account
        account.ports -= 1
        account.waste.extend(lane.in_flight for lane in port.lanes)
        self._work(account)

    def account(self, owner: str) -> OwnerLanes:
        account = self.accounts.get(owner)
        if account is None:
            account = self.accounts[owner] = OwnerLanes(self._shares.new(owner))
            self._by_epoll[account.ready.fileno()] = account
            self._epoll.register(account.ready, select.EPOLLIN)
        return account

    def watch(self, descriptor: int, handler: Callable[[], None], *, is_writing: bool = False) -> None:
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, select.EPOLLOUT if is_writing else select.EPOLLIN)

    def watch_lane(self, lane: Lane) -> None:
        self._handlers[lane.source] = lambda: self._receive(lane)
        lane.account.ready.register(lane.source, select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    @property
    def overhead_ns(self) -> int:
        """What a delayed frame takes besides its delay: here, and in the plain lane of the port it goes to."""
        return int(self.lateness.mean_ns + self.writing.mean_ns + self.passing.mean_ns)

    def run_once(self, timeout_s: float | None = None) -> None:
        """Wait for events unless there is work; answer netemu; then the turn of one owner."""
        is_waiting = not self._busy
        events = self._epoll.poll(timeout_s if is_waiting else 0)
        now_ns = time.monotonic_ns()
        with_frames = set()
        for descriptor, _ in events:
            if descriptor in self._by_epoll:
                with_frames.add(self._by_epoll[descriptor])
                continue
            if descriptor == self._timer.descriptor:
                if self._armed_ns and is_waiting:  # else it says how long the last turn was
                    self.lateness.observe(now_ns - self._armed_ns)
                self._armed_ns = 0
            if descriptor in self._handlers:
                self._handlers[descriptor]()
        self._release(now_ns)
        with_work = self._busy | with_frames | self._find_due(now_ns)
        if by_share := {account.share: account for account in with_work if not account.is_held}:
            account = by_share[self._shares.next(by_share)]
            self._give_turn(account, account in with_frames)
        self._arm()

    def _give_turn(self, account: OwnerLanes, is_ready: bool) -> None:
        """is_ready: frames wait in his taps."""
        started_ns = time.thread_time_ns()
        for descriptor, _ in account.ready.poll(0, 1) if is_ready else ():
            self._handlers[descriptor]()
        self._find_due(time.monotonic_ns())
        self._send_due(account)
        self._free(account)
        now_ns = time.monotonic_ns()
        held_ns, all_held_ns = self._shares.charge(account.share, now_ns, time.thread_time_ns() - started_ns)
        if not account.due and not account.waste:
            self._busy.discard(account)
        if not account.ports and not account.waste:
            self._close(account)
        elif held_ns:
            self._hold(account, now_ns + held_ns)
            self._shares.lend(now_ns, self._idle.poll(now_ns))
        if all_held_ns:
            time.sleep(all_held_ns / 1e9)

    def _hold(self, account: OwnerLanes, until_ns: int) -> None:
        account.is_held = True
        self._busy.discard(account)
        self._epoll.modify(account.ready, 0)
        heapq.heappush(self._held, (until_ns, id(account), account))

    def _release(self, now_ns: int) -> None:
        while self._held and self._held[0][0] <= now_ns:
            account = heapq.heappop(self._held)[2]
            account.is_held = False
            self._epoll.modify(account.ready, select.EPOLLIN)
            if account.due or account.waste or not account.ports:
                self._busy.add(account)

    def _work(self, account: OwnerLanes) -> None:
        if not account.is_held:
            self._busy.add(account)

    def _close(self, account: OwnerLanes) -> None:
        del self.accounts[account.share.owner], self._by_epoll[account.ready.fileno()]
        account.ready.close()

    def _ignore_lane(self, lane: Lane) -> None:
        if self._handlers.pop(lane.source, None) is not None:
            lane.account.ready.unregister(lane.source)

    def _change_owner(self, port: CablePort, account: OwnerLanes) -> None:
        """What is under way is the new owner's from now on."""
        self._detach(port)
        former, port.account = port.account, account
        for lane in port.lanes:
            lane.account = account
            size = sum(memory_of(frame) for *_, frame in lane.in_flight)
            self._shares.keep(former.share, -size)
            self._shares.keep(account.share, size)
            if lane.in_flight:
                heapq.heappush(self._heads, (lane.in_flight[0][0], id(lane), lane))
        self._attach(port)
        former.ports -= 1
        account.ports += 1
        self._work(former)

    def _attach(self, port: CablePort) -> None:
        self.watch_lane(port.up)
        self.watch_lane(port.down)

    def _detach(self, port: CablePort) -> None:
        """Nothing is read from it any more, and nothing of it waits to be due."""
        self._ignore_lane(port.up)
        self._ignore_lane(port.down)
        lanes = set(port.lanes)
        for heads in (self._heads, port.account.due):
            heads[:] = [head for head in heads if head[2] not in lanes]
            heapq.heapify(heads)

    def _receive(self, lane: Lane) -> None:
        wire, share = lane.wire, lane.account.share
        turn_ns = time.monotonic_ns()
        self._alone_since_ns = 0
        # A read wakes us as late as the timer does, so the frame arrived that much earlier.
        arrival_ns = turn_ns - int(self.lateness.mean_ns)
        if wire.is_delayed:
            arrival_ns -= self.overhead_ns
        for number in range(FRAMES_PER_TURN):
            try:
                frame = read_frame(lane.source)
            except OSError as error:
                if error.errno in TAP_IS_GONE:  # epoll would report it forever
                    self._ignore_lane(lane)
                return
            if frame is None:
                self._alone_since_ns = turn_ns if number == 1 else 0
                return
            if not self._shares.has_room(share, memory_of(frame)):
                self._shares.drop(share, turn_ns)
                wire.drop()
                continue
            if (impairment := wire.impair(arrival_ns)) is not None:
                self._impair(lane, impairment, arrival_ns, frame)
                continue
            size = wire_size(frame, VNET_HEADER_BYTES)
            due_ns = wire.admit(arrival_ns, size)
            if due_ns is not None:
                self._enqueue(lane, due_ns, arrival_ns, size, frame)

    def _impair(self, lane: Lane, impairment: Impairment, arrival_ns: int, frame: bytes) -> None:
        if not impairment.copies:
            lane.wire.drop()
            return
        if impairment.corrupt_at is not None:
            frame = corrupted(frame, VNET_HEADER_BYTES, impairment.corrupt_at)
        size = wire_size(frame, VNET_HEADER_BYTES)
        for _ in range(impairment.copies):
            due_ns = lane.wire.admit(arrival_ns, size, impairment.jitter_ns, impairment.overtakes)
            if due_ns is not None:
                self._enqueue(lane.overtaking if impairment.overtakes else lane, due_ns, arrival_ns, size, frame)

    def _enqueue(self, lane: Lane, due_ns: int, arrival_ns: int, size: int, frame: bytes) -> None:
        if not lane.in_flight:
            heapq.heappush(self._heads, (due_ns, id(lane), lane))
        lane.in_flight.append((due_ns, arrival_ns, size, frame))
        self._shares.keep(lane.account.share, memory_of(frame))

    def _find_due(self, now_ns: int) -> set[OwnerLanes]:
        """Whose frames have become due."""
        found = set()
        while self._heads and self._heads[0][0] <= now_ns:
            head = heapq.heappop(self._heads)
            account = head[2].account
            heapq.heappush(account.due, head)
            self._work(account)
            found.add(account)
        return found

    def _send_due(self, account: OwnerLanes) -> None:
        for number in range(FRAMES_PER_TURN):
            if not account.due:
                return
            lane = heapq.heappop(account.due)[2]
            now_ns = time.monotonic_ns()
            due_ns, arrival_ns, size, frame = lane.in_flight.popleft()
            self._shares.keep(account.share, -memory_of(frame))
            lane.wire.depart(now_ns, due_ns, size, write_frame(lane.target, frame))
            lane.wire.delay.observe(now_ns - arrival_ns)
            if number == 0:
                self._observe_costs(lane, now_ns)
            if lane.in_flight:
                due_ns = lane.in_flight[0][0]
                heapq.heappush(account.due if due_ns <= now_ns else self._heads, (due_ns, id(lane), lane))

    def _free(self, account: OwnerLanes) -> None:
        for _ in range(FREED_PER_TURN):
            while account.waste and not account.waste[0]:
                account.waste.popleft()
            if not account.waste:
                return
            self._shares.keep(account.share, -memory_of(account.waste[0].popleft()[3]))

    def _observe_costs(self, lane: Lane, now_ns: int) -> None:
        written_ns = time.monotonic_ns()
        self.writing.observe(written_ns - now_ns)
        if lane.wire.is_plain and self._alone_since_ns:
            self.passing.observe(written_ns - self._alone_since_ns)

    def _arm(self) -> None:
        """For the next frame that will be due, and for whoever will be released next."""
        times_ns = [queue[0][0] for queue in (self._heads, self._held) if queue]
        if not times_ns:
            return
        wanted_ns = max(time.monotonic_ns() + 1, min(times_ns) - int(self.lateness.mean_ns))
        if wanted_ns != self._armed_ns:
            self._armed_ns = wanted_ns
            self._timer.arm(wanted_ns)
