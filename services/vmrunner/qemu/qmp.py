"""A small client of qemu's machine protocol (QMP) on a unix socket: JSON lines, answers and events mixed.

A guest may have taken the process over: it may send anything, of any length and for ever, or take no commands.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.kit import tasks
from walt.contracts.errors import Failed

MAX_MESSAGE_BYTES = 2**20
MAX_EVENTS = 1000  # that come before an answer; of more, the last
SEND_LIMIT_S = 1.0
ANSWER_LIMIT_S = 3.0


class QmpClosed(Failed):
    """qemu went away."""


@dataclass
class _Answer:
    """message: None when qemu has gone away before it."""

    message: Mapping[str, Any] | None = None
    is_there: threading.Event = field(default_factory=threading.Event)


class Qmp:
    """One connection to the socket at `path`, which is in a folder of the VM's user: a link there leads nowhere. qemu
    serves one client at a time."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._timeout_s = timeout_s
        self._socket.settimeout(timeout_s)
        self._buffer = b""
        self._events: collections.deque[dict[str, Any]] = collections.deque(maxlen=MAX_EVENTS)
        self._sending = threading.Lock()
        self._is_deaf = False
        self._numbers = itertools.count(1)
        self._answers: dict[int, _Answer] = {}
        try:
            _connect(self._socket, path)
            self._receive(time.monotonic() + timeout_s)  # the greeting
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def execute(self, command: str, **arguments: Any) -> Any:
        """The command's answer. Not while another thread waits in `next_event`."""
        deadline = time.monotonic() + self._timeout_s
        self.send(command, **arguments)
        while True:
            message = self._receive(deadline)
            if "event" not in message:
                return _result(command, message)
            self._events.append(message)

    def ask(self, command: str, arguments: Mapping[str, Any], files: Sequence[int] = ()) -> Any:
        """The command's answer, while another thread waits in `next_event`. files: descriptors that go with it."""
        number, answer = next(self._numbers), _Answer()
        self._answers[number] = answer
        try:
            self._write({"execute": command, "arguments": dict(arguments), "id": number}, files)
            if not answer.is_there.wait(ANSWER_LIMIT_S):
                raise Failed(f"qemu does not answer {command}")
        finally:
            del self._answers[number]
        if answer.message is None:
            raise QmpClosed("qemu went away")
        return _result(command, answer.message)

    def send(self, command: str, **arguments: Any) -> None:
        """Without waiting for the answer."""
        self._write({"execute": command, **({"arguments": arguments} if arguments else {})})

    def _write(self, message: Mapping[str, Any], files: Sequence[int] = ()) -> None:
        deaf = QmpClosed("qemu's monitor takes no commands")
        if self._is_deaf:
            raise deaf
        try:
            with tasks.Timeout(SEND_LIMIT_S, deaf), self._sending:
                line = json.dumps(message).encode() + b"\n"
                sent = socket.send_fds(self._socket, [line], files) if files else 0
                self._socket.sendall(line[sent:])
        except QmpClosed:
            self._is_deaf = True
            raise
        except OSError as error:
            raise QmpClosed(f"qemu went away ({error})") from None

    def next_event(self) -> dict[str, Any]:
        """Waits for one; QmpClosed at the end of qemu."""
        while not self._events:
            message = self._receive(None)
            if "event" in message:
                self._events.append(message)
            else:
                self._hand_over(message)
        return self._events.popleft()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()
        for answer in list(self._answers.values()):
            answer.is_there.set()

    def _hand_over(self, message: Mapping[str, Any]) -> None:
        number = message.get("id")
        answer = self._answers.get(number) if isinstance(number, int) else None
        if answer is not None:
            answer.message = message
            answer.is_there.set()

    def _receive(self, deadline: float | None) -> dict[str, Any]:
        """deadline: monotonic; after it Failed."""
        time.sleep(0)  # others have their turn, however much it sends
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                raise QmpClosed(f"this is not the monitor of a qemu: more than {MAX_MESSAGE_BYTES} bytes in a line")
            try:
                self._socket.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(65536)
            except TimeoutError:
                raise Failed("qemu's monitor does not answer") from None
            except OSError as error:
                raise QmpClosed(f"qemu went away ({error})") from None
            if not data:
                raise QmpClosed("qemu went away")
            self._buffer += data
        if deadline is not None and time.monotonic() > deadline:
            raise Failed("qemu's monitor does not answer")
        line, self._buffer = self._buffer.split(b"\n", 1)
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict):
                return message
        raise QmpClosed(f"this is not the monitor of a qemu: {line[:100]!r}")


def _result(command: str, message: Mapping[str, Any]) -> Any:
    if "return" in message:
        return message["return"]
    error = message.get("error")
    raise Failed(f"qemu refuses {command}: {error.get('desc') if isinstance(error, dict) else error}")


def _connect(connection: socket.socket, path: Path) -> None:
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{place}")
    finally:
        os.close(place)
