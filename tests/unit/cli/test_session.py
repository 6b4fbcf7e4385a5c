"""The position in a line: whatever comes twice is shown once."""

import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.client import Mailbox
from cli.link import Link, Message
from cli.session import LineSession
from cli.terminal import Terminal
from services.contracts import console
from services.contracts.errors import NotFound, Unreachable
from tests.unit.cli.fakes import node


class Screen:
    raw, has_input, idle = False, False, None

    def __init__(self):
        self.data = b""
        self.told = []

    def write(self, data, stream="out"):
        self.data += data

    def tell(self, sentence):
        self.told.append(sentence)


class FakeWire:
    """A client that opens at a position and records what is posted."""

    def __init__(self, offset=0):
        self.offset = offset
        self.posted = []
        self.started = []
        self.answers = []

    def open_mailbox(self):
        self.mailbox = Mailbox(lambda message: None)
        return self.mailbox

    def receive(self, headers, body):
        self.mailbox.put(SimpleNamespace(headers=headers, body=body))

    def post(self, exchange, key, headers, body):
        self.posted.append((key, headers["kind"], body))

    def close(self):
        self.closed = True

    def start(self, service, method, **arguments):
        if method.startswith("open_"):
            self.opened = arguments
            return Opened(self.offset)
        call = FakeCall()
        self.started.append((method, call))
        return call


class Opened:
    done = True

    def __init__(self, offset):
        self.offset = offset

    def result(self):
        return {"session": "s", "offset": self.offset}


class FakeCall:
    done = False

    def result(self):
        raise NotFound("no such session")


def line_session(client):
    return LineSession(client, node("a"), Screen(), read_only=False)


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12))
def test_overlapping_messages_show_each_byte_once(line, spans):
    session = line_session(FakeWire())
    session.open(1)
    shown = 0
    for start, length in [*spans, (0, len(line))]:
        start = min(start, shown)  # the service leaves no gaps
        end = min(start + length, len(line))
        session.show(Message(console.DATA, line[start:end], end))
        shown = max(shown, end)
    assert session.terminal.data == line


def test_line_is_opened_again_where_it_was():
    client = FakeWire()
    session = line_session(client)
    session.open(1)
    assert client.opened["offset"] is None
    session.show(Message(console.DATA, b"hello", 5))
    session.lost(Unreachable("away"))
    assert client.closed  # and made anew: a connection may lead nowhere
    client.offset = 5
    session.open(1)
    assert client.opened["offset"] == 5
    assert session.terminal.told == ["the console of a is away (away); trying again"]


def test_lost_bytes_are_told():
    client = FakeWire()
    session = line_session(client)
    session.open(1)
    client.offset = 70
    session.open(1)
    assert session.terminal.told == ["70 bytes of the console are no longer to be had"]


def test_node_that_is_gone_ends_the_attempts():
    session = line_session(FakeWire())
    session.open(1)
    session.lost(Unreachable("away"))
    with pytest.raises(NotFound):
        session.lost(NotFound("there is no node 'a'"))


def test_input_waits_for_the_service():
    client = FakeWire()
    link = Link(client, "lab1", "open_shell", 1).wait()
    assert link.may_send
    link.send(console.DATA, b"x" * console.INPUT_WINDOW)
    assert not link.may_send
    client.receive({"session": "s", "kind": console.TAKEN}, str(console.TAKEN_STEP).encode())
    assert link.receive() == []
    assert link.may_send
    assert client.posted[0][0] == "input.lab1"


def test_messages_of_another_session_are_dropped():
    client = FakeWire()
    link = Link(client, "lab1", "open_line", 1).wait()
    client.receive({"session": "old", "kind": console.DATA}, b"old")
    client.receive({"session": "s", "kind": console.DATA, "offset": 3}, b"new")
    assert link.receive() == [Message(console.DATA, b"new", 3)]


def test_session_is_kept_and_found_lost():
    client = FakeWire()
    link = Link(client, "lab1", "open_line", 1).wait()
    link.keep(100.0)
    assert client.started == []
    link.keep(100.0 + console.KEEP_S)
    ((method, call),) = client.started
    assert method == "keep_session"
    link.keep(101.0 + console.KEEP_S)  # no answer yet
    call.done = True
    with pytest.raises(NotFound):
        link.keep(102.0 + console.KEEP_S)


def test_silence_is_a_loss():
    client = FakeWire()
    link = Link(client, "lab1", "open_line", 1).wait()
    link.keep(100.0)
    link.keep(105.0)
    with pytest.raises(Unreachable, match="console@lab1 does not answer"):
        link.keep(110.0)


def test_each_line_of_a_notice_is_a_line(monkeypatch):
    reader, writer = os.pipe()
    monkeypatch.setattr("cli.terminal.STDERR", writer)
    Terminal(raw=False, reads=False).tell("host key differs\r\n\x1b[2Jsomeone may listen\n")
    os.close(writer)
    assert os.read(reader, 1000) == b"walt: host key differs\nwalt: \\x1b[2Jsomeone may listen\n"
    os.close(reader)


def test_output_that_nobody_takes_does_not_lose_the_session(monkeypatch):
    monkeypatch.setattr("cli.terminal.IDLE_S", 0.01)
    reader, writer = os.pipe()
    monkeypatch.setattr("cli.terminal.STDOUT", writer)
    terminal = Terminal(raw=False, reads=False)
    calls, got = [], []

    def idle():
        calls.append(1)
        if len(calls) > 3:  # somebody reads again
            got.append(os.read(reader, 2**20))

    terminal.idle = idle
    terminal.write(bytes(200_000))
    os.close(writer)
    while data := os.read(reader, 2**20):
        got.append(data)
    os.close(reader)
    assert len(calls) > 3
    assert sum(map(len, got)) == 200_000
