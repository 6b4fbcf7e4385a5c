"""A command on a node as a file object: write to its standard input, read from its standard output."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from walt.client import Client
from walt.contracts import console
from walt.contracts.errors import NotFound, Unreachable, WaltError
from walt.contracts.nodes import NodeView

from ..ui.messages import Progress
from .remote_session import RemoteSession, SessionLost, wait_for_messages

POLL_S = 1.0
MAX_STDERR_BYTES = 4000
SHOW_EVERY_S = 0.2


class CommandEnded(Exception):
    """The command accepts no more input; its exit status says why."""


class CommandPipe:
    def __init__(self, client: Client, node: NodeView, command: Sequence[str], label: str) -> None:
        self.status: int | None = None
        self._stderr = b""
        self._name = node.name
        self._client = client
        arguments: dict[str, Any] = {"node": node.name, "command": list(command), "terminal": None}
        self._session = RemoteSession(client, node.host, "open_shell", **arguments)
        self._progress = Progress()
        self._label = label
        self._bytes = 0
        self._show_at = 0.0

    def __enter__(self) -> CommandPipe:
        self._session.wait_until_open()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._progress.clear()
        with contextlib.suppress(WaltError):
            if self.status is None:
                self._session.close()
            self._session.close_mailbox()

    @property
    def stderr(self) -> str:
        """The end of its standard error, with the notices of the service."""
        return self._stderr.decode(errors="replace").strip()

    def write(self, data: bytes) -> None:
        self._receive(0.0)
        while self.status is None and not self._session.may_send:
            self._receive(POLL_S)
        if self.status is not None:
            raise CommandEnded
        self._session.send(console.DATA, data)
        self._count(len(data))

    def read(self, _: int = 0) -> bytes:
        """The next piece of output; b"" at the end."""
        while not (data := self._receive(POLL_S)) and self.status is None:
            pass
        self._count(len(data))
        return data

    def finish(self) -> int:
        """Close its input and wait for its exit status."""
        if self.status is None:
            self._session.send(console.END_OF_INPUT)
        while self.status is None:
            self._receive(POLL_S)
        return self.status

    def _receive(self, limit_s: float) -> bytes:
        """The output of the next message, waiting up to limit_s for one."""
        try:
            self._session.keep(time.monotonic())
            message = self._session.receive_one()
            if message is None and wait_for_messages(self._client, limit_s):
                message = self._session.receive_one()
        except (NotFound, Unreachable) as why:
            raise SessionLost(f"the session on {self._name} is lost: {why}") from why
        if message is None:
            return b""
        if message.kind == console.EXIT:
            self.status = message.status
        elif message.kind == console.NOTICE or message.stream == "err":
            self._stderr = (self._stderr + message.body)[-MAX_STDERR_BYTES:]
        elif message.kind == console.DATA:
            return message.body
        return b""

    def _count(self, size: int) -> None:
        self._bytes += size
        if time.monotonic() > self._show_at:
            self._show_at = time.monotonic() + SHOW_EVERY_S
            self._progress.show(f"{self._label}: {self._bytes / 1e6:.1f} MB")
