"""`walt node run` on several nodes: a session each, over one connection; whole lines, each with its node's name."""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cli.link import Link, Message
from cli.output import say
from cli.terminal import Terminal
from cli.waiting import Node
from services.contracts import console
from services.contracts.errors import Failed, Unreachable, WaltError

AT_ONCE = console.MAX_SESSIONS_PER_USER // 4  # the user may have other sessions
MAX_LINE_BYTES = 2**20  # a longer line is shown in pieces: it is not kept for ever
TURN_S = 1.0

Write = Callable[[bytes, str], None]


class Lines:
    """One stream of one node, cut into whole lines with a prefix. Pure."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that are complete by now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) >= MAX_LINE_BYTES:
            lines.append(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        return b"".join(self._prefix + line + b"\n" for line in lines)

    def flush(self) -> bytes:
        """The last line, which had no end."""
        return self.feed(b"\n") if self._rest else b""


def prefixes(names: Sequence[str]) -> list[str]:
    """'vnode1:  ', 'vnode10: ': as wide as the widest. Pure."""
    width = max(len(name) for name in names) + 2
    return [f"{name}:".ljust(width) for name in names]


def overall(statuses: Sequence[int]) -> int:
    """0 when all are 0, else the highest. Pure."""
    return max(statuses)


class Member:
    """The command on one node. What fails here does not stop the others: it counts as status 1."""

    def __init__(self, node: Node, prefix: str, write: Write) -> None:
        self.name = node["name"]
        self.status: int | None = None
        self.said_why = False
        self._host = node["host"]
        self._prefix = prefix
        self._write = write
        self._lines = {stream: Lines(prefix.encode()) for stream in ("out", "err")}
        self._link: Link | None = None
        self._fed = False

    def start(self, client: Any, command: Sequence[str]) -> None:
        with self._failures():
            self._link = Link(client, self._host, "open_shell", node=self.name, command=list(command), terminal=None)

    def turn(self, now: float) -> None:
        """Obey what has come."""
        with self._failures():
            if self._link is None or not self._link.is_open(now):
                return
            if not self._fed:
                self._fed = True
                self._link.send(console.END_OF_INPUT)
            for message in self._link.receive():
                self._obey(message)
            if self.status is None:
                self._link.keep(now)

    def idle(self) -> None:
        if self._link is not None and self._link.session:
            self._link.idle()

    def close(self) -> None:
        if self._link is not None and self.status is None:
            with contextlib.suppress(WaltError):
                self._link.close()

    def _obey(self, message: Message) -> None:
        if message.kind == console.DATA:
            self._write(self._lines[message.stream].feed(message.body), message.stream)
        elif message.kind == console.NOTICE:
            self._tell(message.text)
        elif message.kind == console.EXIT:
            self._end(1 if self.said_why else message.status)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except WaltError as error:
            for sentence in error.args:
                self._tell(str(sentence))
            self._end(1)

    def _tell(self, text: str) -> None:
        self.said_why = True
        for line in text.splitlines():
            say(f"{self._prefix}{line}")

    def _end(self, status: int) -> None:
        for stream, lines in self._lines.items():
            self._write(lines.flush(), stream)
        self.status = status


def run_on_all(client: Any, nodes: Sequence[Node], command: Sequence[str]) -> int:
    terminal = Terminal(raw=False, reads=False)
    names = [node["name"] for node in nodes]
    members = [Member(node, prefix, terminal.write) for node, prefix in zip(nodes, prefixes(names), strict=True)]
    waiting, running = deque(members), list[Member]()

    def idle() -> None:
        for member in running:
            member.idle()

    terminal.idle = idle
    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(waiting.popleft())
                running[-1].start(client, command)
            for member in running:
                member.turn(time.monotonic())
            running = [member for member in running if member.status is None]
            if running:
                _wait(client)
    finally:
        for member in running:
            member.close()
    return _summary(members)


def _wait(client: Any) -> None:
    try:
        if client.fileno() is None:
            raise Unreachable("the connection to the broker is lost")
        if select.select([client.fileno()], [], [], TURN_S)[0]:
            client.drain(0)
    except Unreachable as why:
        raise Failed(f"all sessions are lost: {why}") from why


def _summary(members: Sequence[Member]) -> int:
    for member in members:
        if member.status and not member.said_why:
            say(f"{member.name}: exit status {member.status}")
    return overall([member.status or 0 for member in members])
