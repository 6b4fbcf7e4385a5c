"""`walt node run` on several nodes: one session per node, whole lines, prefixed with the node's name."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from walt.client import Client
from walt.contracts import console
from walt.contracts.errors import Unreachable, WaltError
from walt.contracts.nodes import NodeView

from ..ui.messages import print_message
from .remote_session import RemoteSession, SessionLost, SessionMessage, wait_for_messages
from .terminal import LocalTerminal

MAX_PARALLEL = console.MAX_SESSIONS_PER_USER // 4  # leaves room for the user's other sessions
MAX_LINE_BYTES = 2**20  # a longer line is shown in pieces, to bound memory
POLL_S = 1.0

Write = Callable[[bytes, str], None]


class LinePrefixer:
    """One stream of one node, cut into whole lines with a prefix. Pure."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that are complete with this data."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) >= MAX_LINE_BYTES:
            lines.append(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        return b"".join(self._prefix + line + b"\n" for line in lines)

    def flush(self) -> bytes:
        """The last line, if it has no newline."""
        return self.feed(b"\n") if self._rest else b""


def prefixes(names: Sequence[str]) -> list[str]:
    """'vnode1:  ', 'vnode10: ': as wide as the widest. Pure."""
    width = max(len(name) for name in names) + 2
    return [f"{name}:".ljust(width) for name in names]


def overall(statuses: Sequence[int]) -> int:
    """0 when all are 0, else the highest. Pure."""
    return max(statuses)


class NodeCommand:
    """The command on one node. An error here does not stop the other nodes; it counts as status 1.

    explained: a message has been printed that says why it failed."""

    def __init__(self, node: NodeView, prefix: str, write: Write) -> None:
        self.name = node.name
        self.status: int | None = None
        self.explained = False
        self._host = node.host
        self._prefix = prefix
        self._write = write
        self._lines = {stream: LinePrefixer(prefix.encode()) for stream in ("out", "err")}
        self._session: RemoteSession | None = None
        self._input_ended = False

    def start(self, client: Client, command: Sequence[str]) -> None:
        with self._failures():
            arguments: dict[str, Any] = {"node": self.name, "command": list(command), "terminal": None}
            self._session = RemoteSession(client, self._host, "open_shell", **arguments)

    def step(self, now: float) -> None:
        """Handle the messages that have arrived."""
        with self._failures():
            if self._session is None or not self._session.is_open(now):
                return
            if not self._input_ended:
                self._input_ended = True
                self._session.send(console.END_OF_INPUT)
            for message in self._session.receive():
                self._handle(message)
            if self.status is None:
                self._session.keep(now)

    def keep_session(self) -> None:
        if self._session is not None and self._session.session:
            self._session.keep_while_blocked()

    def close(self) -> None:
        if self._session is not None and self.status is None:
            with contextlib.suppress(WaltError):
                self._session.close()

    def _handle(self, message: SessionMessage) -> None:
        if message.kind == console.DATA:
            self._write(self._lines[message.stream].feed(message.body), message.stream)
        elif message.kind == console.NOTICE:
            self._explain(message.text)
        elif message.kind == console.EXIT:
            self._end(message.status)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except WaltError as error:
            for sentence in error.args:
                self._explain(str(sentence))
            self._end(1)

    def _explain(self, text: str) -> None:
        self.explained = True
        for line in text.splitlines():
            print_message(f"{self._prefix}{line}")

    def _end(self, status: int) -> None:
        for stream, lines in self._lines.items():
            self._write(lines.flush(), stream)
        self.status = status


def run_on_all(client: Client, nodes: Sequence[NodeView], argv: Sequence[str]) -> int:
    """Run a command on all nodes at once, without input; the highest exit status."""
    terminal = LocalTerminal(raw=False, has_input=False)
    names = [node.name for node in nodes]
    commands = [NodeCommand(node, prefix, terminal.write) for node, prefix in zip(nodes, prefixes(names), strict=True)]
    run_commands(client, [(one, argv) for one in commands], terminal)
    return _summary(commands)


def run_commands(
    client: Client, commands: Sequence[tuple[NodeCommand, Sequence[str]]], terminal: LocalTerminal
) -> None:
    """Run each with its own arguments, many at once; at the end all have a status."""
    waiting, running = deque(commands), list[NodeCommand]()

    def keep_sessions() -> None:
        for one in running:
            one.keep_session()

    terminal.while_blocked = keep_sessions
    try:
        while waiting or running:
            while waiting and len(running) < MAX_PARALLEL:
                command, argv = waiting.popleft()
                running.append(command)
                command.start(client, argv)
            for one in running:
                one.step(time.monotonic())
            running = [one for one in running if one.status is None]
            if running:
                _wait(client)
    finally:
        for one in running:
            one.close()


def _wait(client: Client) -> None:
    try:
        wait_for_messages(client, POLL_S)
    except Unreachable as why:
        raise SessionLost(f"all sessions are lost: {why}") from why


def _summary(commands: Sequence[NodeCommand]) -> int:
    for command in commands:
        if command.status and not command.explained:
            print_message(f"{command.name}: exit status {command.status}")
    return overall([command.status or 0 for command in commands])
