"""The loop of the cable, on socket pairs in place of taps."""

import socket
from types import SimpleNamespace

import pytest

from services.netemu.cable import switch as loop
from services.netemu.cable.model import Wire
from services.netemu.cable.switch import Lane, Switch
from walt.contracts.links import Direction

HEADER = bytes(10)


class Ends:
    """One lane of a switch, and the sockets at both its ends."""

    def __init__(self, switch: Switch, direction: Direction) -> None:
        self.sender, self._source = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.receiver, self._target = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._source.setblocking(False)
        self.receiver.setblocking(False)
        self.lane = Lane(self._source.fileno(), self._target.fileno(), Wire(direction))
        switch.watch(self.lane.source, lambda: switch._receive(self.lane))

    def close(self) -> None:
        for end in (self.sender, self._source, self.receiver, self._target):
            end.close()


@pytest.fixture
def ends():
    """A plain lane and one with a delay."""
    switch = Switch()
    made = [Ends(switch, Direction()), Ends(switch, Direction(60_000_000))]
    yield switch, *made
    for one in made:
        one.close()


def test_what_all_ports_together_keep_under_way_is_bounded(ends, monkeypatch):
    switch, plain, slow = ends
    monkeypatch.setattr(loop, "MAX_QUEUED_BYTES", 1000)
    for _ in range(5):
        slow.sender.send(HEADER + bytes(490))
    switch.run_once()
    assert (len(slow.lane.in_flight), slow.lane.wire.dropped) == (3, 2)
    plain.sender.send(HEADER + bytes(490))
    switch.run_once()
    assert plain.lane.wire.dropped == 1


def test_what_is_due_does_not_wait_for_frames_that_arrive_elsewhere(ends):
    """Both ends have frames at the same time: what needs no delay is handed on before the other end is read."""
    switch, plain, slow = ends
    seen = []
    read = switch._handlers[slow.lane.source]
    switch._handlers[slow.lane.source] = lambda: (seen.append(plain.receiver.recv(2000)), read())
    plain.sender.send(HEADER + b"first")
    slow.sender.send(HEADER + b"second")
    switch.run_once()
    assert seen == [HEADER + b"first"]


def test_a_frame_that_came_while_others_had_their_turn_is_not_faster_than_asked(ends, monkeypatch):
    switch, plain, slow = ends
    now_ns = 10**9
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic_ns=lambda: now_ns))

    def take_long() -> None:
        nonlocal now_ns
        switch._receive(plain.lane)
        switch._send_due()
        now_ns += 70 * 10**9
        slow.sender.send(HEADER + b"later")

    switch._handlers[plain.lane.source] = take_long
    plain.sender.send(HEADER + b"first")
    slow.sender.send(HEADER + b"second")
    switch.run_once()
    assert [due_ns - now_ns for due_ns, *_ in slow.lane.in_flight] == [60 * 10**9] * 2
