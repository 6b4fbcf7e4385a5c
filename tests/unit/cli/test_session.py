"""The position in a line: whatever comes twice is shown once."""

import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sessions.interactive import ConsoleSession, RecordingSession
from cli.sessions.remote_session import RemoteSession, SessionMessage
from cli.sessions.terminal import LocalTerminal
from tests.unit.cli.fakes import node_view
from walt.client import Mailbox
from walt.contracts import console
from walt.contracts.errors import NotFound, Unreachable


class Screen:
    raw, has_input, while_blocked, resized = False, False, None, -1

    def __init__(self):
        self.data = b""
        self.messages = []

    def write(self, data, stream="out"):
        self.data += data

    def print_message(self, sentence):
        self.messages.append(sentence)


class FakeWire:
    """A client that opens at a position and records what is posted."""

    def __init__(self, offset=0):
        self.offset, self.live_from = offset, 0
        self.input_key = ""
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

    def fileno(self):
        return None

    def start(self, service, method, **arguments):
        if method.startswith("open_"):
            self.opened = arguments
            return Opened(self.offset, self.live_from, self.input_key)
        call = FakeCall()
        self.started.append((method, call))
        return call


class Opened:
    done = True

    def __init__(self, offset, live_from, input_key):
        self.offset, self.live_from, self.input_key = offset, live_from, input_key

    def result(self):
        return {"session": "s", "offset": self.offset, "live_from": self.live_from, "input_key": self.input_key}


class FakeCall:
    done = False

    def result(self):
        raise NotFound("no such session")


def console_session(client):
    return ConsoleSession(client, node_view("a"), Screen(), read_only=False)


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12))
def test_overlappingmessages_show_each_byte_once(line, spans):
    session = console_session(FakeWire())
    session.open(1)
    shown = 0
    for start, length in [*spans, (0, len(line))]:
        start = min(start, shown)  # the service leaves no gaps
        end = min(start + length, len(line))
        session.on_output(SessionMessage(console.DATA, line[start:end], end))
        shown = max(shown, end)
    assert session.terminal.data == line


def test_line_is_opened_again_where_it_was():
    client = FakeWire()
    session = console_session(client)
    session.open(1)
    assert client.opened["offset"] is None
    session.on_output(SessionMessage(console.DATA, b"hello", 5))
    session.on_lost(Unreachable("away"))
    assert client.closed  # and made anew: a connection may lead nowhere
    client.offset = 5
    session.open(1)
    assert client.opened["offset"] == 5
    assert session.terminal.messages == ["the console of a is unreachable (away); reconnecting"]


def test_what_a_replay_asks_of_the_terminal_is_not_answered_into_the_node():
    """Fault B4. What is asked now, a program in the node waits for."""
    client = FakeWire()
    client.live_from = 7
    session = console_session(client)
    session.terminal.raw = True
    session.open(1)
    session.on_output(SessionMessage(console.DATA, b"a\x1b[", 3))
    session.on_output(SessionMessage(console.DATA, b"6nb$\x1b[6n", 11))
    assert session.terminal.data == b"ab$\x1b[6n"


def test_a_large_paste_waits_for_the_service(monkeypatch):
    """Fault B11: the service closes a session that sends too far ahead."""
    client = FakeWire()
    session = console_session(client)
    session.terminal.raw = True
    monkeypatch.setattr("cli.sessions.interactive.InteractiveSession._wait", lambda _: [])
    session.open(1)
    pasted = os.urandom(2_000_000).replace(b"\x01", b"")
    session.on_input(pasted)
    taken = 0
    while taken < len(pasted):
        session._wait()
        sent = b"".join(body for _, _, body in client.posted)
        assert taken < len(sent) <= taken + console.INPUT_WINDOW + 16_384
        taken = len(sent)
        client.receive({"session": "s", "kind": console.TAKEN}, str(taken).encode())
        session.remote.receive()
    assert sent == pasted


def test_fault_b20_the_size_of_the_window_reaches_the_node_by_a_key(monkeypatch):
    client = FakeWire()
    session = console_session(client)
    session.terminal.raw = True
    session.terminal.size = lambda: (50, 132)
    monkeypatch.setattr("cli.sessions.interactive.InteractiveSession._wait", lambda _: [])
    session.open(1)
    session.on_input(b"\x01r")
    session._wait()
    assert client.posted == [("input.local", console.DATA, b" stty rows 50 columns 132\r")]


def test_fault_b45_what_is_typed_while_the_service_restarts_is_sent_later(monkeypatch):
    """What the former service had been sent, and had not confirmed, is told."""
    client = FakeWire()
    session = console_session(client)
    session.terminal.raw = True
    monkeypatch.setattr("cli.sessions.interactive.InteractiveSession._wait", lambda _: [])
    session.open(1)
    for typed in (b"uname\r", b"ls"):
        session.on_input(typed)
        session._wait()
    client.receive({"session": "s", "kind": console.TAKEN}, b"6")
    session.remote.receive()
    session.on_lost(Unreachable("away"))
    session.on_input(b" -l\r")
    client.posted.clear()
    session._open_at = 0
    session._step()
    session._wait()
    assert client.posted == [("input.local", console.DATA, b" -l\r")]
    assert session.terminal.messages[-1] == (
        "the console of a is reconnected; of the input, the last 2 bytes before that may be lost"
    )


def test_fault_b4_a_recording_asks_the_terminal_nothing(monkeypatch):
    monkeypatch.setattr("os.isatty", lambda descriptor: True)
    session = RecordingSession(FakeWire(), node_view("a"))
    session.terminal = Screen()
    for piece in (b"a\x1b[", b"6nb$"):
        session.on_output(SessionMessage(console.DATA, piece))
    assert session.terminal.data == b"ab$"


def test_lost_bytes_are_told():
    client = FakeWire()
    session = console_session(client)
    session.open(1)
    client.offset = 70
    session.open(1)
    assert session.terminal.messages == ["70 bytes of the console have been discarded meanwhile"]


def test_node_that_is_gone_ends_the_attempts():
    session = console_session(FakeWire())
    session.open(1)
    session.on_lost(Unreachable("away"))
    with pytest.raises(NotFound):
        session.on_lost(NotFound("there is no node 'a'"))


def test_input_waits_for_the_service():
    client = FakeWire()
    remote = RemoteSession(client, "lab1", "open_shell", 1)
    remote.wait_until_open()
    assert remote.may_send
    remote.send(console.DATA, b"x" * console.INPUT_WINDOW)
    assert not remote.may_send
    client.receive({"session": "s", "kind": console.TAKEN}, str(console.TAKEN_STEP).encode())
    assert remote.receive() == []
    assert remote.may_send
    assert client.posted[0][0] == "input.lab1", "of a console of the version before"


def test_input_goes_where_the_service_says():
    client = FakeWire()
    client.input_key = "input.lab1.0123"
    remote = RemoteSession(client, "lab1", "open_shell", 1)
    remote.wait_until_open()
    remote.send(console.DATA, b"x")
    assert client.posted[0][0] == "input.lab1.0123"


def test_small_messages_wait_for_the_service_too():
    client = FakeWire()
    remote = RemoteSession(client, "lab1", "open_shell", 1)
    remote.wait_until_open()
    for _ in range(console.INPUT_WINDOW_MESSAGES):
        assert remote.may_send
        remote.send(console.DATA, b"xx")
    assert not remote.may_send
    client.receive({"session": "s", "kind": console.TAKEN}, b"2")
    remote.receive()
    assert remote.may_send


def testmessages_of_another_session_are_dropped():
    client = FakeWire()
    remote = RemoteSession(client, "lab1", "open_line", 1)
    remote.wait_until_open()
    client.receive({"session": "old", "kind": console.DATA}, b"old")
    client.receive({"session": "s", "kind": console.DATA, "offset": 3}, b"new")
    assert remote.receive() == [SessionMessage(console.DATA, b"new", 3)]


def test_session_is_kept_and_found_lost():
    client = FakeWire()
    remote = RemoteSession(client, "lab1", "open_line", 1)
    remote.wait_until_open()
    remote.keep(100.0)
    assert client.started == []
    remote.keep(100.0 + console.LEASE_RENEW_S)
    ((method, call),) = client.started
    assert method == "keep_session"
    remote.keep(101.0 + console.LEASE_RENEW_S)  # no answer yet
    call.done = True
    with pytest.raises(NotFound):
        remote.keep(102.0 + console.LEASE_RENEW_S)


def test_silence_is_a_loss():
    client = FakeWire()
    remote = RemoteSession(client, "lab1", "open_line", 1)
    remote.wait_until_open()
    remote.keep(100.0)
    remote.keep(105.0)
    with pytest.raises(Unreachable, match="console@lab1 does not answer"):
        remote.keep(110.0)


def test_each_line_of_a_notice_is_a_line(monkeypatch):
    reader, writer = os.pipe()
    monkeypatch.setattr("cli.sessions.terminal.STDERR", writer)
    LocalTerminal(raw=False, has_input=False).print_message("host key differs\r\n\x1b[2Jsomeone may listen\n")
    os.close(writer)
    assert os.read(reader, 1000) == b"walt: host key differs\nwalt: \\x1b[2Jsomeone may listen\n"
    os.close(reader)


def test_output_that_nobody_takes_does_not_lose_the_session(monkeypatch):
    monkeypatch.setattr("cli.sessions.terminal.BLOCKED_POLL_S", 0.01)
    reader, writer = os.pipe()
    monkeypatch.setattr("cli.sessions.terminal.STDOUT", writer)
    terminal = LocalTerminal(raw=False, has_input=False)
    calls, got = [], []

    def while_blocked():
        calls.append(1)
        if len(calls) > 3:  # somebody reads again
            got.append(os.read(reader, 2**20))

    terminal.while_blocked = while_blocked
    terminal.write(bytes(200_000))
    os.close(writer)
    while data := os.read(reader, 2**20):
        got.append(data)
    os.close(reader)
    assert len(calls) > 3
    assert sum(map(len, got)) == 200_000
