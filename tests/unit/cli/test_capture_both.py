"""Two captures that become one file: how they are kept, and every way in which they end."""

from __future__ import annotations

import os
from collections import deque

import pytest

from cli.sessions import capture_both as module
from cli.sessions.capture_both import BothEnds
from cli.sessions.capture_pair import CapturePair
from cli.sessions.remote_session import SessionLost, SessionMessage
from services.netemu.capture import pcapng
from tests.support.pcapng import blocks
from tests.unit.cli.fakes import FakeClient
from tests.unit.cli.test_capture_pair import MACS, frame, packet
from tests.unit.cli.test_lab import run
from walt.contracts import console
from walt.contracts.errors import NotFound, WaltError

HEAD = pcapng.section_header("c") + pcapng.interface_description("x", "d")


class Remote:
    """Ends when it is asked to, unless it has ended by itself: `status`."""

    def __init__(self, *pieces: bytes, status: bytes | None = None, fault: WaltError | None = None) -> None:
        self.messages = deque(SessionMessage(console.DATA, one, None, "out") for one in pieces)
        self.sent, self._fault = [], fault
        if status is not None:
            self._end(status)

    def _end(self, status: bytes) -> None:
        self.messages.append(SessionMessage(console.NOTICE, b"1 frames captured", None, "out"))
        self.messages.append(SessionMessage(console.EXIT, status, None, "out"))

    def keep(self, now):
        if self._fault:
            raise self._fault

    def receive_one(self):
        return self.messages.popleft() if self.messages else None

    def send(self, kind):
        self.sent.append(kind)
        self._end(b"0")

    def keep_while_blocked(self):
        pass


def both(monkeypatch, *remotes, is_asked=lambda: True):
    """(status, the file)"""
    monkeypatch.setattr(module, "wait_for_messages", lambda client, timeout_s: False)
    reader, writer = os.pipe()
    try:
        pair = CapturePair(("vnode1", "vnode2"), MACS)
        status = BothEnds(None, ("vnode1", "vnode2"), remotes, pair, writer, is_asked).run()
        os.close(writer)
        with open(reader, "rb", closefd=False) as file:
            return status, file.read()
    finally:
        os.close(reader)


def test_one_file_of_both_and_both_are_asked_to_end(monkeypatch, capsys):
    data = frame("ping")
    remotes = Remote(HEAD, packet(0, data, sent=True)), Remote(HEAD, packet(10.02, data, sent=False))
    status, written = both(monkeypatch, *remotes)
    assert [remote.sent for remote in remotes] == [[console.END_OF_INPUT]] * 2 and status == 0
    assert [kind for kind, _ in blocks(written)] == [0x0A0D0D0A, 1, 1, 6, 6] and written.count(b"delayed 10.02 ms") == 2
    assert capsys.readouterr().err == "vnode1: 1 frames captured\nvnode2: 1 frames captured\n"


def test_where_one_ends_by_itself_the_other_ends_too(monkeypatch):
    remotes = Remote(HEAD, status=b"1"), Remote(HEAD, packet(0, frame("x", sender=1), sent=True))
    status, written = both(monkeypatch, *remotes, is_asked=lambda: False)
    assert status == 1 and remotes[0].sent == [] and remotes[1].sent == [console.END_OF_INPUT]
    assert b"did not arrive at vnode1" in written


def test_a_lost_session_is_said(monkeypatch):
    with pytest.raises(SessionLost, match="the capture of vnode1 and vnode2 is lost: no such session"):
        both(monkeypatch, Remote(HEAD), Remote(fault=NotFound("no such session")), is_asked=lambda: False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--with", "b", "--ring", "5"], "--with excludes --ring and --count"),
        (["--with", "b", "--count", "5"], "--with excludes --ring and --count"),
        (["--with", "a"], "--with a: this is the node itself"),
    ],
)
def test_what_does_not_go_together(capsys, words, told):
    assert run(["network", "capture", "a", "home-net", "-w", "x", *words], FakeClient()) == 2
    assert told in capsys.readouterr().err


def test_an_end_that_is_not_there_is_named_before_anything_is_opened(capsys):
    client = FakeClient(get_ports=[], get_nodes=lambda selection: [])
    with pytest.raises(NotFound, match="node 'a' has no network 'home-net'"):
        module._macs(client, ["a", "b"], "home-net")
