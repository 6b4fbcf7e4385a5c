"""`walt network capture`: the frames of one port of a node, into a file, a pipe, or Wireshark."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from walt.client import Client
from walt.contracts import console
from walt.contracts.errors import Failed, InvalidRequest, NotFound, Unreachable, WaltError
from walt.contracts.nodes import NodeView

from ..ui.messages import print_message
from .capture_ring import CaptureRing
from .remote_session import RemoteSession, SessionLost, SessionMessage, wait_for_messages
from .terminal import STDOUT, write_all

POLL_S = 0.2  # how long ctrl-c may wait
STANDARD_OUTPUT = "-"
WIRESHARK = ("wireshark", "-k", "-i", "-")
NOWHERE = "there is nowhere to write: standard output is a terminal; use -w FILE or --wireshark"

Sink = Callable[[], contextlib.AbstractContextManager[int]]  # opens the descriptor that gets the file


def sink_of(path: str | None, wireshark: bool) -> Sink:
    """Where the frames go; InvalidRequest and Failed before anything is opened."""
    if wireshark:
        if shutil.which(WIRESHARK[0]) is None:
            raise Failed("wireshark is not installed on this computer; -w FILE writes a file for another one")
        return _wireshark
    if path not in (None, STANDARD_OUTPUT):
        return lambda: _file(str(path))
    if os.isatty(STDOUT):
        raise InvalidRequest(NOWHERE)
    return lambda: contextlib.nullcontext(STDOUT)


@contextlib.contextmanager
def _file(path: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield descriptor
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _wireshark() -> Iterator[int]:
    """It stays open when the capture has ended. ctrl-c here is not for it."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        WIRESHARK, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True, bufsize=0
    )
    assert process.stdin is not None
    with process.stdin:
        yield process.stdin.fileno()
    if process.poll():
        raise Failed(f"wireshark ended with status {process.returncode}")


def capture(
    client: Client, node: NodeView, network: str, expression: str, count: int, sink: Sink, ring_s: float | None = None
) -> int:
    """Until `count` frames, ctrl-c, or the end of who reads them. ring_s: only the frames of so long before its end."""
    ring = None if ring_s is None else CaptureRing(ring_s)
    arguments: dict[str, Any] = {"network": network, "expression": expression, "count": count}
    remote = RemoteSession(client, node.host, "open_capture", node=node.name, **arguments)
    remote.wait_until_open()
    try:
        with sink() as descriptor, end_signals() as asked_to_end:
            print_message(f"capturing {node.name} on {network}; ctrl-c ends it")
            status = Capturing(client, node, remote, descriptor, asked_to_end, ring).run()
            if ring is not None:
                write_all(descriptor, ring.content(), lambda: None)
                print_message(
                    f"{ring.frames} frames of the last {ring_s:g} s written, {ring.forgotten} were before them"
                )
            return status
    finally:
        with contextlib.suppress(WaltError):
            remote.close()


class Capturing:
    """One capture that is open. ring: takes the frames, instead of the descriptor."""

    def __init__(
        self,
        client: Client,
        node: NodeView,
        remote: RemoteSession,
        descriptor: int,
        asked_to_end: Callable[[], bool],
        ring: CaptureRing | None = None,
    ) -> None:
        self._ring = ring
        self._client = client
        self._node = node
        self._remote = remote
        self._descriptor = descriptor
        self._asked_to_end = asked_to_end
        self._is_ending = False
        self._status: int | None = None

    def run(self) -> int:
        """0 also when who reads the frames has gone."""
        try:
            while self._status is None and not reader_is_gone(self._descriptor):
                self._step()
        except BrokenPipeError:
            return 0
        except (NotFound, Unreachable) as why:
            raise SessionLost(f"the capture of {self._node.name} is lost: {why}") from why
        return self._status or 0

    def _step(self) -> None:
        if self._asked_to_end() and not self._is_ending:
            self._is_ending = True
            self._remote.send(console.END_OF_INPUT)
        self._remote.keep(time.monotonic())
        while self._status is None and (message := self._remote.receive_one()):
            self._handle(message)
        if self._status is None:
            wait_for_messages(self._client, POLL_S)

    def _handle(self, message: SessionMessage) -> None:
        if message.kind == console.DATA and self._ring is not None:
            self._ring.add(message.body)
        elif message.kind == console.DATA:
            write_all(self._descriptor, message.body, self._remote.keep_while_blocked)
        elif message.kind == console.NOTICE:
            print_message(message.text)
        elif message.kind == console.EXIT:
            self._status = message.status


def reader_is_gone(descriptor: int) -> bool:
    """Of a pipe, also while nothing is written to it."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


@contextlib.contextmanager
def end_signals() -> Iterator[Callable[[], bool]]:
    """Whether ctrl-c was pressed, or the process was asked to end; the second time it is as always."""
    asked = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, _: object) -> None:
        asked.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
