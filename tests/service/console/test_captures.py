"""Captures as sessions: bytes of netemu's capture, rights, bounds, and how they end. The capture itself is a fake."""

import contextlib
import json
import socket
import uuid
from dataclasses import asdict, replace

import pytest

from services.kit import tasks
from tests.support.wait import wait_until
from walt.contracts import console
from walt.contracts.errors import EXIT_SESSION_LOST, Conflict, Failed, InvalidRequest, NotOwner
from walt.contracts.netemu import CAPTURE_END, CAPTURE_PIECE, CaptureEnd, CaptureTarget, OpenCapture
from walt.contracts.nodes import PHYSICAL

CAPTURE = {"node": "vnode1", "network": "home-net"}


class FakeCapture:
    """What a process of netemu is to its reader. asked: (target, expression, count) of each that was opened."""

    def __init__(self):
        self.name = f"walt-test-{uuid.uuid4().hex}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(f"\0{self.name}")
        self.listener.listen(20)
        self.asked = []

    def open(self, *request):
        self.asked.append(request)
        return OpenCapture(self.name, "the key")

    @contextlib.contextmanager
    def reader(self):
        """The connection of the next reader; its key is right."""
        with tasks.Timeout(10):
            connection, _ = self.listener.accept()
            assert connection.recv(100) == b"the key"
        try:
            yield connection
        finally:
            connection.close()


@pytest.fixture
def capture(netemu):
    fake = FakeCapture()
    netemu.capture = fake.open
    yield fake
    netemu.capture = None
    fake.listener.close()


def end_of(captured=2, missed=0, fault=""):
    return CAPTURE_END + json.dumps(asdict(CaptureEnd(captured, missed, fault))).encode()


def has_ended(connection):
    with tasks.Timeout(10):
        return connection.recv(10) == b""


def test_pieces_come_in_order_until_the_user_has_enough(service, user, capture):
    one = user()
    one.open("open_capture", **CAPTURE, expression="icmp", count=7)
    assert capture.asked == [(CaptureTarget(1, "vnode1", "alice", "home-net"), "icmp", 7)]
    with capture.reader() as process:
        for piece in (b"first", b"second"):
            process.send(CAPTURE_PIECE + piece)
        one.wait(lambda: one.data() == b"firstsecond")
        one.send(console.END_OF_INPUT)
        assert has_ended(process)
        process.send(CAPTURE_PIECE + b"rest")
        process.send(end_of(3, 1))
        assert one.wait_for_exit() == 0
    assert one.data() == b"firstsecondrest"
    assert one.notices() == ["3 frames captured, 1 not captured"]
    assert not one.has_session()


def test_a_port_that_goes_is_told(service, user, capture):
    one = user()
    one.open("open_capture", **CAPTURE)
    with capture.reader() as process:
        process.send(end_of(fault="the port is gone"))
        assert one.wait_for_exit() == 1
    assert one.notices() == ["2 frames captured, 0 not captured", "the port is gone"]


def test_a_process_that_dies_is_told(service, user, capture):
    one = user()
    one.open("open_capture", **CAPTURE)
    with capture.reader() as process:
        process.send(CAPTURE_PIECE + b"x")
    assert one.wait_for_exit() == EXIT_SESSION_LOST
    assert one.notices() == ["the process of the capture has died"]


def test_a_reader_that_is_slow_is_waited_for_by_the_process_and_delays_nobody(service, user, capture):
    one, other = user(), user()
    one.open("open_capture", **CAPTURE, listen=False)
    with capture.reader() as process:
        process.setblocking(False)
        sent = fill(process)
        assert sent < 8_000_000, "what nobody reads is not taken"
        other.open("open_ping", node="vnode1", count=1)
        assert other.wait_for_exit() == 0
        one.listen()
        one.wait(lambda: one.received_bytes == sent, 30)
        one.close()
        process.send(CAPTURE_PIECE + b"for nobody")
        process.setblocking(True)
        assert has_ended(process), "with its client"


def fill(process):
    """Until nothing more is taken for a second; how much was."""
    sent = idle = 0
    while idle < 20:
        try:
            process.send(CAPTURE_PIECE + bytes(60_000))
            sent, idle = sent + 60_000, 0
        except BlockingIOError:
            idle += 1
            tasks.sleep(0.05)
    return sent


@pytest.mark.parametrize("cause", ["close_session", "removed"])
def test_ends_with_its_session(service, user, capture, nodes, cause):
    one = user()
    one.open("open_capture", **CAPTURE)
    with capture.reader() as process:
        if cause == "removed":
            nodes.remove(1)
            assert one.wait_for_exit() == EXIT_SESSION_LOST and one.notices() == ["vnode1 is removed"]
        else:
            one.request(cause, session=one.session)
        assert has_ended(process)


def test_ends_when_the_node_changes_hands(service, user, capture, nodes):
    one = user()
    one.open("open_capture", node="vnode5", network="home-net")
    with capture.reader() as process:
        nodes.put(replace(nodes.specs[5], owner="bob", version=2))
        assert one.wait_for_exit() == EXIT_SESSION_LOST
        assert one.notices() == ["vnode5 has changed hands"] and has_ended(process)
    with pytest.raises(NotOwner):
        one.open("open_capture", node="vnode5", network="home-net")


def test_what_is_refused_starts_nothing(service, user, capture, nodes):
    with pytest.raises(NotOwner):
        user("bob").open("open_capture", **CAPTURE)
    for wrong in ({"expression": "x" * 2001}, {"expression": "a\nb"}, {"count": -1}, {"network": 7}):
        with pytest.raises(InvalidRequest):
            user().open("open_capture", **{**CAPTURE, **wrong})
    nodes.put(replace(nodes.specs[3], type=PHYSICAL))
    with pytest.raises(Conflict, match="is a physical node"):
        user().open("open_capture", node="vnode3", network="home-net")
    assert not capture.asked


def test_refusals_of_netemu_reach_the_user(service, user, netemu):
    def refuse(*_):
        raise InvalidRequest("filter 'x': syntax error")

    netemu.capture = refuse
    with pytest.raises(InvalidRequest, match="filter 'x': syntax error"):
        user().open("open_capture", **CAPTURE, expression="x")
    netemu.capture = lambda *_: OpenCapture("nobody-listens", "key")
    with pytest.raises(Failed, match="the capture does not answer: Connection refused"):
        user().open("open_capture", **CAPTURE)
    netemu.capture = None


def test_a_user_has_so_many_captures(service, user, capture):
    one = user()
    for _ in range(console.MAX_CAPTURES_PER_USER):
        one.open("open_capture", **CAPTURE)
    with pytest.raises(Conflict, match="alice has 8 captures open; allowed: no more"):
        one.open("open_capture", **CAPTURE)
    assert service.metrics()['walt_console_sessions{kind="capture"}'] == console.MAX_CAPTURES_PER_USER
    one.close()
    wait_until(lambda: service.metrics()['walt_console_sessions{kind="capture"}'] == 0, 60)
