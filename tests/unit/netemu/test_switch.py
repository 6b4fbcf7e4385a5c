"""The loop of the cable, on socket pairs in place of taps."""

import contextlib
import os
import socket
import tracemalloc
from types import SimpleNamespace

import pytest

from services.netemu.cable import lanes
from services.netemu.cable import switch as loop
from services.netemu.cable.fairness import MAX_CORE_SHARE, OWNER_CPUS, OwnerShares
from services.netemu.cable.lanes import Lane
from services.netemu.cable.model import Wire
from services.netemu.cable.switch import Switch
from walt.contracts.links import Direction, LinkModel

HEADER = bytes(10)


class Ends:
    """One lane of a switch, and the sockets at both its ends."""

    def __init__(self, switch: Switch, direction: Direction, owner: str = "ada") -> None:
        self.sender, self._source = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.receiver, self._target = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._source.setblocking(False)
        self.receiver.setblocking(False)
        account = switch.account(owner)
        account.ports += 1
        self.lane = Lane(account, self._source.fileno(), self._target.fileno(), Wire(direction))
        switch.watch_lane(self.lane)

    def close(self) -> None:
        for end in (self.sender, self._source, self.receiver, self._target):
            end.close()


@pytest.fixture
def world(monkeypatch):
    """A switch for links of several owners, and its clock: what it takes of it is written as a duration."""
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    switch = Switch()
    made = []

    def add(direction: Direction, owner: str = "ada") -> Ends:
        made.append(Ends(switch, direction, owner))
        return made[-1]

    yield switch, clock, add
    for one in made:
        one.close()


class Clock:
    """Virtual time, of which each look takes a microsecond."""

    LOOK_NS = 1_000

    def __init__(self) -> None:
        self.now_ns = 10**9

    def monotonic_ns(self) -> int:
        self.now_ns += self.LOOK_NS
        return self.now_ns

    thread_time_ns = monotonic_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


def flood(ends: Ends, size: int = 100) -> int:
    """As many frames as its socket takes."""
    ends.sender.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 10_000:
            ends.sender.send(HEADER + bytes(size))
            sent += 1
    return sent


def test_fault_s14_a_backlog_that_becomes_due_at_once_is_sent_in_turns(world):
    """lat=20s, one frame, lat=1us and a flood, all of it due with that one. Another's frame waits for a turn."""
    switch, clock, add = world
    storm, polite = add(Direction(20_000_000), "storm"), add(Direction(), "polite")
    storm.sender.send(HEADER + b"first")
    switch.run_once(0)
    storm.lane.wire.set(Direction(latency_us=1))
    for _ in range(50):
        flood(storm)
        switch.run_once(0)
    backlog = len(storm.lane.in_flight)
    assert backlog > 500
    clock.now_ns += 20 * 10**9
    switch.run_once(0)
    polite.sender.send(HEADER + b"mine")
    started_ns = clock.now_ns
    for _ in range(3):
        switch.run_once(0)
    assert polite.receiver.recv(2000) == HEADER + b"mine"
    assert len(storm.lane.in_flight) > backlog - 4 * loop.FRAMES_PER_TURN
    assert clock.now_ns - started_ns < 10**6


def test_ports_by_the_hundred_give_no_more_turns(world):
    """Fairness is between owners, however many of one's ports have frames."""
    switch, _, add = world
    for one in [add(Direction(), "storm") for _ in range(60)]:
        flood(one)
    polite = add(Direction(), "polite")
    for _ in range(5):
        switch.run_once(0)
    polite.sender.send(HEADER + b"mine")
    switch.run_once(0)
    switch.run_once(0)
    assert polite.receiver.recv(2000) == HEADER + b"mine"


def test_all_ports_of_an_owner_have_their_turn(world):
    switch, _, add = world
    ports = [add(Direction(), "storm") for _ in range(5)]
    for one in ports:
        flood(one)
    for _ in range(len(ports)):
        switch.run_once(0)
    assert all(one.receiver.recv(2000) for one in ports)


@pytest.mark.parametrize("idle_cpus, cpus", [(0.0, OWNER_CPUS), (1.0, MAX_CORE_SHARE)])
def test_fault_s45_an_owner_takes_his_part_of_a_core_and_more_only_if_it_is_idle(world, idle_cpus, cpus):
    """As a loop of two bridges does, frames come without an end."""
    switch, clock, add = world
    switch._idle = SimpleNamespace(poll=lambda now_ns: idle_cpus)
    storm = add(Direction(), "storm")
    share = switch.account("storm").share
    begin_ns = clock.now_ns
    while clock.now_ns - begin_ns < 10**9:
        flood(storm)
        drain(storm)
        switch.run_once(0)
        if switch.account("storm").is_held:
            clock.now_ns += 10_000  # nothing else to do
    used = share.used_ns / (clock.now_ns - begin_ns)
    assert 0.8 * cpus < used < 1.1 * cpus
    assert share.limited_at_ns
    if not idle_cpus:
        assert share.held_ns > 0.8 * (1 - cpus) * 10**9


def drain(ends: Ends) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            ends.receiver.recv(2000)


def test_fault_s15_only_the_frames_of_whom_has_used_up_his_share_are_dropped(world, monkeypatch):
    switch, _, add = world
    switch._shares = OwnerShares(memory=100_000)
    storm, polite = add(Direction(60_000_000), "storm"), add(Direction(60_000_000), "polite")
    for _ in range(30):
        flood(storm)
        switch.run_once(0)
    assert 45_000 < switch.account("storm").share.queued_bytes < 50_000 + lanes.memory_of(HEADER + bytes(100))
    assert storm.lane.wire.dropped == switch.account("storm").share.dropped > 0
    for _ in range(20):
        polite.sender.send(HEADER + bytes(490))
    for _ in range(4):
        switch.run_once(0)
    assert (len(polite.lane.in_flight), polite.lane.wire.dropped) == (20, 0)


@pytest.mark.parametrize("size", [60, 1514])
def test_fault_s15_the_memory_of_frames_is_counted_as_it_is(world, size):
    switch, _, add = world
    slow = add(Direction(60_000_000))
    tracemalloc.start()
    try:
        while len(slow.lane.in_flight) < 20_000:
            flood(slow, size)
            switch.run_once(0)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counted = slow.lane.account.share.queued_bytes
    assert 0.9 < counted / taken < 1.35, taken / len(slow.lane.in_flight)


def test_what_a_removed_port_had_under_way_is_freed_little_by_little(world, monkeypatch):
    switch, _, add = world
    monkeypatch.setattr(lanes, "open_tap", lambda _name: os.eventfd(0, os.EFD_NONBLOCK))
    monkeypatch.setattr(lanes, "set_offload", lambda *_: None)
    switch.set_port("vn1e2", "cn1e2", "cb1e2", LinkModel(Direction(60_000_000)), "ada")
    account = switch.account("ada")
    lane = switch.ports["vn1e2"].up
    for _ in range(1000):
        switch._enqueue(lane, 10**18, 0, 100, bytes(100))
    switch.drop_port("vn1e2")
    switch.run_once(0)
    left = account.share.queued_bytes
    assert 0 < left < 1000 * 360
    while "ada" in switch.accounts:
        switch.run_once(0)
    assert account.share.queued_bytes == 0 == switch._shares._queued_bytes


def test_a_port_that_changes_hands_takes_its_frames_along(world, monkeypatch):
    switch, clock, add = world
    monkeypatch.setattr(lanes, "open_tap", lambda _name: os.eventfd(0, os.EFD_NONBLOCK))
    monkeypatch.setattr(lanes, "set_offload", lambda *_: None)
    link = LinkModel(Direction(60_000_000))
    switch.set_port("vn1e2", "cn1e2", "cb1e2", link, "ada")
    lane = switch.ports["vn1e2"].up
    switch._enqueue(lane, clock.now_ns + 10**9, 0, 100, bytes(100))
    switch.set_port("vn1e2", "cn1e2", "cb1e2", link, "bob")
    switch.run_once(0)
    assert "ada" not in switch.accounts
    assert switch.account("bob").share.queued_bytes == lanes.memory_of(bytes(100))
    clock.now_ns += 10**9
    switch.run_once(0)
    assert not lane.in_flight and switch.account("bob").share.queued_bytes == 0
    switch.drop_port("vn1e2")


def test_what_is_due_does_not_wait_for_frames_that_arrive_elsewhere(world):
    """Both ends have frames at the same time: what needs no delay is handed on before the other end is read."""
    switch, _, add = world
    plain, slow = add(Direction()), add(Direction(60_000_000))
    seen = []
    read = switch._handlers[slow.lane.source]
    switch._handlers[slow.lane.source] = lambda: (seen.append(plain.receiver.recv(2000)), read())
    plain.sender.send(HEADER + b"first")
    slow.sender.send(HEADER + b"second")
    switch.run_once()
    switch.run_once()
    assert seen == [HEADER + b"first"]


def test_a_frame_that_came_while_others_had_their_turn_is_not_faster_than_asked(world):
    switch, clock, add = world
    plain, slow = add(Direction()), add(Direction(60_000_000))
    clock.LOOK_NS = 0
    plain.sender.send(HEADER + b"first")
    slow.sender.send(HEADER + b"second")
    switch.run_once()
    clock.now_ns += 70 * 10**9
    slow.sender.send(HEADER + b"later")
    switch.run_once()
    assert [due_ns - clock.now_ns for due_ns, *_ in slow.lane.in_flight] == [60 * 10**9] * 2
