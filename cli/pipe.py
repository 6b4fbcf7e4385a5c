"""A command on a node as a file: what is written is its standard input, what is read its standard output."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from cli.link import Link
from cli.output import Progress
from cli.waiting import Node
from services.contracts import console
from services.contracts.errors import Failed, NotFound, Unreachable, WaltError

TURN_S = 1.0
SAID_BYTES = 4000
SHOW_EVERY_S = 0.2


class Ended(Exception):
    """The command takes no more input; its status tells why."""


class Pipe:
    def __init__(self, client: Any, node: Node, command: Sequence[str], label: str) -> None:
        self.status: int | None = None
        self._said = b""
        self._name = node["name"]
        self._client = client
        self._link = Link(client, node["host"], "open_shell", node=self._name, command=list(command), terminal=None)
        self._progress = Progress()
        self._label = label
        self._bytes = 0
        self._show_at = 0.0

    def __enter__(self) -> Pipe:
        self._link.wait()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._progress.clear()
        with contextlib.suppress(WaltError):
            if self.status is None:
                self._link.close()
            self._link.forget()

    @property
    def said(self) -> str:
        """The end of what the command and the service said beside its output."""
        return self._said.decode(errors="replace").strip()

    def write(self, data: bytes) -> None:
        self._take(0.0)
        while self.status is None and not self._link.may_send:
            self._take(TURN_S)
        if self.status is not None:
            raise Ended
        self._link.send(console.DATA, data)
        self._count(len(data))

    def read(self, _: int = 0) -> bytes:
        """What comes next; b"" at the end."""
        while not (data := self._take(TURN_S)) and self.status is None:
            pass
        self._count(len(data))
        return data

    def finish(self) -> int:
        """End its input, wait for its end; its exit status."""
        if self.status is None:
            self._link.send(console.END_OF_INPUT)
        while self.status is None:
            self._take(TURN_S)
        return self.status

    def _take(self, limit_s: float) -> bytes:
        """Output from the next message; waits for one at most so long."""
        try:
            self._link.keep(time.monotonic())
            message = self._link.receive_one()
            if message is None and self._has_news(limit_s):
                message = self._link.receive_one()
        except (NotFound, Unreachable) as why:
            raise Failed(f"the session on {self._name} is lost: {why}") from why
        if message is None:
            return b""
        if message.kind == console.EXIT:
            self.status = message.status
        elif message.kind == console.NOTICE or message.stream == "err":
            self._said = (self._said + message.body)[-SAID_BYTES:]
        elif message.kind == console.DATA:
            return message.body
        return b""

    def _has_news(self, limit_s: float) -> bool:
        if self._client.fileno() is None:
            raise Unreachable("the connection to the broker is lost")
        if not select.select([self._client.fileno()], [], [], limit_s)[0]:
            return False
        self._client.drain(0)
        return True

    def _count(self, size: int) -> None:
        self._bytes += size
        if time.monotonic() > self._show_at:
            self._show_at = time.monotonic() + SHOW_EVERY_S
            self._progress.show(f"{self._label}: {self._bytes / 1e6:.1f} MB")
