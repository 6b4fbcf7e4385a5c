"""Console, shell, run and ping: bytes between this terminal and a session, until the session ends.

A serial line outlives its viewers and its service: when the session of a console is lost, the line is opened again at
the position where it was lost. A shell has no such position, and ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Sequence
from typing import Any

from walt.client import Client
from walt.contracts import console
from walt.contracts.errors import NotFound, Unreachable, WaltError
from walt.contracts.nodes import NodeView

from . import escape_keys
from .remote_session import OPEN_TIMEOUT_S, RemoteSession, SessionLost, SessionMessage
from .replay_filter import ReplayFilter
from .terminal import CHUNK, STDIN, STDOUT, LocalTerminal

REOPEN_TIMEOUT_S = 2.0
REOPEN_EVERY_S = 1.0
REOPEN_FOR_S = 60.0
POLL_S = 1.0  # the longest sleep of the loop


def open_console(client: Client, node: NodeView, *, read_only: bool) -> int:
    terminal = LocalTerminal(raw=True)
    if terminal.raw:
        terminal.print_message(f"console of {node.name}; {escape_keys.HELP}")
    return ConsoleSession(client, node, terminal, read_only).run()


def print_recording(client: Client, node: NodeView) -> int:
    """Everything recorded of its serial line; a terminal gets it without what it would answer."""
    return RecordingSession(client, node).run()


def open_shell(client: Client, node: NodeView) -> int:
    terminal = LocalTerminal(raw=True)
    window = None
    if terminal.raw:
        rows, columns = terminal.size()
        window = {"term": os.environ.get("TERM") or "dumb", "rows": rows, "columns": columns}
    return InteractiveSession(client, node, terminal, "open_shell", {"command": None, "terminal": window}).run()


def run_command(client: Client, node: NodeView, command: Sequence[str], *, has_input: bool) -> int:
    """The exit status of the command. has_input: standard input is passed on; else the command finds it at its end."""
    arguments = {"command": list(command), "terminal": None}
    return InteractiveSession(
        client, node, LocalTerminal(raw=False, has_input=has_input), "open_shell", arguments
    ).run()


def ping(client: Client, node: NodeView, count: int) -> int:
    terminal = LocalTerminal(raw=False, has_input=False)
    return InteractiveSession(client, node, terminal, "open_ping", {"count": count}).run()


class InteractiveSession:
    """A session that ends when it is lost."""

    def __init__(
        self, client: Client, node: NodeView, terminal: LocalTerminal, method: str, arguments: dict[str, Any]
    ) -> None:
        self.client = client
        self.node = node
        self.terminal = terminal
        self.remote: RemoteSession | None = None
        self.status: int | None = None
        self.reading = terminal.has_input
        self._method = method
        self._arguments = arguments
        self._has_no_input = not terminal.has_input and method == "open_shell"
        terminal.while_blocked = self._keep_session

    def run(self) -> int:
        with self.terminal:
            try:
                self.open(OPEN_TIMEOUT_S)
                while self.status is None:
                    try:
                        self._step()
                    except (NotFound, Unreachable) as why:
                        self.on_lost(why)
                return self.status
            finally:
                if self.remote is not None:
                    with contextlib.suppress(WaltError):
                        self.remote.close()

    def open(self, timeout_s: float, **arguments: Any) -> RemoteSession:
        arguments = {"node": self.node.name, **self._arguments, **arguments}
        self.remote = RemoteSession(self.client, self.node.host, self._method, timeout_s, **arguments)
        self.remote.wait_until_open()
        if self._has_no_input:
            self.remote.send(console.END_OF_INPUT)
        return self.remote

    def on_lost(self, why: WaltError) -> None:
        raise SessionLost(f"the session on {self.node.name} is lost: {why}") from why

    def on_input(self, data: bytes) -> None:
        """Standard input brought data, or its end (b"")."""
        assert self.remote is not None
        if data:
            self.remote.send(console.DATA, data)
        else:
            self.reading = False
            self.remote.send(console.END_OF_INPUT)

    def on_output(self, message: SessionMessage) -> None:
        self.terminal.write(message.body, message.stream)

    def _step(self) -> None:
        if self.remote is not None:
            for message in self.remote.receive():
                self._handle(message)
        if self.status is not None:
            return
        if self.remote is not None:
            self.remote.keep(time.monotonic())
        ready = self._wait()
        if self.client.fileno() in ready:
            self.client.drain(0)
        if self.terminal.resized in ready:
            self._resize()
        if STDIN in ready:
            self.on_input(self.terminal.read())

    def _wait(self) -> list[int]:
        sources = [self.terminal.resized]
        descriptor = self.client.fileno()
        if self.remote is not None and descriptor is not None:
            sources.append(descriptor)
        if self.reading and self.wants_input():
            sources.append(STDIN)
        ready, _, _ = select.select(sources, [], [], POLL_S)
        return ready

    def wants_input(self) -> bool:
        return self.remote is not None and self.remote.may_send

    def _keep_session(self) -> None:
        if self.remote is not None:
            self.remote.keep_while_blocked()

    def _resize(self) -> None:
        self.terminal.clear_resize()
        if self.remote is not None:
            rows, columns = self.terminal.size()
            self.remote.send(console.RESIZE, f"{rows} {columns}".encode())

    def _handle(self, message: SessionMessage) -> None:
        if message.kind == console.DATA:
            self.on_output(message)
        elif message.kind == console.NOTICE:
            self.terminal.print_message(message.text)
        elif message.kind == console.EXIT:
            self.status = message.status
            self.remote = None  # the service has closed it


class RecordingSession(InteractiveSession):
    """All that is kept of a serial line, to its end."""

    def __init__(self, client: Client, node: NodeView) -> None:
        arguments = {"read_only": True, "follow": False, "offset": 0}
        super().__init__(client, node, LocalTerminal(raw=False, has_input=False), "open_line", arguments)
        self._replay = ReplayFilter() if os.isatty(STDOUT) else None

    def on_output(self, message: SessionMessage) -> None:
        body = message.body if self._replay is None else self._replay.feed(message.body)
        self.terminal.write(body, message.stream)


class ConsoleSession(InteractiveSession):
    """The session on a serial line: opened again when it is lost; on a terminal, ctrl-a is an escape key."""

    def __init__(self, client: Client, node: NodeView, terminal: LocalTerminal, read_only: bool) -> None:
        super().__init__(client, node, terminal, "open_line", {"read_only": read_only})
        self.reading = terminal.raw or (terminal.has_input and not read_only)
        self._read_only = read_only
        self._keys = escape_keys.EscapeKeys()
        self._hinted = False
        self._shown_until: int | None = None  # position in the line after the last byte on the screen
        self._unsent = bytearray()  # input that the service has no room for yet, or typed while there is no session
        self._doubtful_bytes = 0  # of the input that a lost session got
        self._replay = ReplayFilter()
        self._live_from = 0
        self._open_at = self._give_up_at = 0.0

    def open(self, timeout_s: float, **arguments: Any) -> RemoteSession:
        remote = super().open(timeout_s, offset=self._shown_until, **arguments)
        if self._shown_until is not None and remote.offset > self._shown_until:
            self.terminal.print_message(
                f"{remote.offset - self._shown_until} bytes of the console have been discarded meanwhile"
            )
        self._shown_until = remote.offset
        self._replay, self._live_from = ReplayFilter(), remote.live_from
        return remote

    def on_lost(self, why: WaltError) -> None:
        now = time.monotonic()
        if self.remote is not None:
            self._doubtful_bytes = self.remote.unconfirmed_bytes
            self.remote = None
            self._give_up_at = now + REOPEN_FOR_S
            self.terminal.print_message(f"the console of {self.node.name} is unreachable ({why}); reconnecting")
        elif isinstance(why, NotFound) or now > self._give_up_at:
            raise why
        if isinstance(why, Unreachable):
            self.client.close()  # it may be dead without an error, for instance after a suspend of this computer
        self._open_at = now + REOPEN_EVERY_S

    def wants_input(self) -> bool:
        # A terminal is read even without a session, since ctrl-a d must work at any time. A pipe waits.
        return self.terminal.raw or super().wants_input()

    def on_input(self, data: bytes) -> None:
        if not self.terminal.raw:
            self.reading = bool(data)
            if data:
                self._send(data)
            return
        if not data:  # the terminal is gone
            self.status = 0
        for action in self._keys.feed(data):
            self._do(action)

    def on_output(self, message: SessionMessage) -> None:
        """Bytes that were shown before the line was opened again come a second time and are dropped."""
        body = message.body
        if message.offset is not None and self._shown_until is not None:
            body = body[max(0, self._shown_until - (message.offset - len(body))) :]
            self._shown_until = max(self._shown_until, message.offset)
            if self.terminal.raw and (replayed := self._live_from - (message.offset - len(body))) > 0:
                body = self._replay.feed(body[:replayed]) + body[replayed:]
        self.terminal.write(body)

    def _step(self) -> None:
        if self.remote is None and time.monotonic() >= self._open_at:
            self.open(REOPEN_TIMEOUT_S)
            doubt = f"; of the input, the last {self._doubtful_bytes} bytes before that may be lost"
            self.terminal.print_message(
                f"the console of {self.node.name} is reconnected{doubt if self._doubtful_bytes else ''}"
            )
        super()._step()

    def _do(self, action: escape_keys.Action) -> None:
        if isinstance(action, escape_keys.Send):
            self._send(action.data)
        elif action is escape_keys.EscapeCommand.LEAVE:
            self.status = 0
            self.terminal.print_message(f"left the console of {self.node.name}")
        elif action is escape_keys.EscapeCommand.WINDOW_SIZE:
            rows, columns = self.terminal.size()
            self._send(f" stty rows {rows} columns {columns}\r".encode())  # the blank keeps it out of bash's history
        elif action is escape_keys.EscapeCommand.HELP or not self._hinted:
            self._hinted = action is not escape_keys.EscapeCommand.HELP
            self.terminal.print_message(escape_keys.HELP)

    def _send(self, data: bytes) -> None:
        if self._read_only:
            if not self._hinted:
                self._hinted = True
                self.terminal.print_message(f"this console is read-only; {escape_keys.HELP}")
        else:
            self._unsent += data

    def _wait(self) -> list[int]:
        while self._unsent and self.remote is not None and self.remote.may_send:
            self.remote.send(console.DATA, bytes(self._unsent[:CHUNK]))
            del self._unsent[:CHUNK]
        return super()._wait()
