"""Console, shell, run and ping: bytes between this terminal and a session, until the session ends.

The serial line outlives its viewers and its service: when the session of a console is lost, the line is opened
again from where it was. A shell has no such place to come back to.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Sequence
from typing import Any

from cli import keys
from cli.link import OPEN_TIMEOUT_S, Link, Message
from cli.terminal import STDIN, Terminal
from cli.waiting import Node
from services.contracts import console
from services.contracts.errors import Failed, NotFound, Unreachable, WaltError

REOPEN_TIMEOUT_S = 2.0
REOPEN_EVERY_S = 1.0
REOPEN_FOR_S = 60.0
TURN_S = 1.0  # the longest sleep of the loop


def open_console(client: Any, node: Node, *, read_only: bool) -> int:
    terminal = Terminal(raw=True)
    if terminal.raw:
        terminal.tell(f"console of {node['name']}; {keys.HELP}")
    return LineSession(client, node, terminal, read_only).run()


def print_log(client: Any, node: Node) -> int:
    """All that is kept of its serial line."""
    arguments = {"read_only": True, "follow": False, "offset": 0}
    return Session(client, node, Terminal(raw=False, reads=False), "open_line", arguments).run()


def open_shell(client: Any, node: Node) -> int:
    terminal = Terminal(raw=True)
    window = None
    if terminal.raw:
        rows, columns = terminal.size()
        window = {"term": os.environ.get("TERM") or "dumb", "rows": rows, "columns": columns}
    return Session(client, node, terminal, "open_shell", {"command": None, "terminal": window}).run()


def run_command(client: Any, node: Node, words: Sequence[str]) -> int:
    return Session(client, node, Terminal(raw=False), "open_shell", {"command": list(words), "terminal": None}).run()


def ping(client: Any, node: Node, count: int) -> int:
    return Session(client, node, Terminal(raw=False, reads=False), "open_ping", {"count": count}).run()


class Session:
    """A session that ends when it is lost."""

    def __init__(self, client: Any, node: Node, terminal: Terminal, method: str, arguments: dict[str, Any]) -> None:
        self.client = client
        self.node = node
        self.terminal = terminal
        self.link: Link | None = None
        self.status: int | None = None
        self.reading = terminal.has_input
        self._method = method
        terminal.idle = self._idle
        self._arguments = arguments

    def run(self) -> int:
        with self.terminal:
            try:
                self.open(OPEN_TIMEOUT_S)
                while self.status is None:
                    try:
                        self._turn()
                    except (NotFound, Unreachable) as why:
                        self.lost(why)
                return self.status
            finally:
                if self.link is not None:
                    with contextlib.suppress(WaltError):
                        self.link.close()

    def open(self, timeout_s: float, **more: Any) -> Link:
        arguments = {"node": self.node["name"], **self._arguments, **more}
        self.link = Link(self.client, self.node["host"], self._method, timeout_s, **arguments).wait()
        return self.link

    def lost(self, why: WaltError) -> None:
        raise Failed(f"the session on {self.node['name']} is lost: {why}") from why

    def typed(self, data: bytes) -> None:
        """Something, or the end of it (b""), came from standard input."""
        assert self.link is not None
        if data:
            self.link.send(console.DATA, data)
        else:
            self.reading = False
            self.link.send(console.END_OF_INPUT)

    def show(self, message: Message) -> None:
        self.terminal.write(message.body, message.stream)

    def _turn(self) -> None:
        if self.link is not None:
            for message in self.link.receive():
                self._obey(message)
        if self.status is not None:
            return
        if self.link is not None:
            self.link.keep(time.monotonic())
        ready = self._wait()
        if self.client.fileno() in ready:
            self.client.drain(0)
        if self.terminal.resized in ready:
            self._resize()
        if STDIN in ready:
            self.typed(self.terminal.read())

    def _wait(self) -> list[int]:
        sources = [self.terminal.resized]
        if self.link is not None and self.client.fileno() is not None:
            sources.append(self.client.fileno())
        if self.reading and self.wants_input():
            sources.append(STDIN)
        ready, _, _ = select.select(sources, [], [], TURN_S)
        return ready

    def wants_input(self) -> bool:
        return self.link is not None and self.link.may_send

    def _idle(self) -> None:
        if self.link is not None:
            self.link.idle()

    def _resize(self) -> None:
        self.terminal.take_resize()
        if self.link is not None:
            rows, columns = self.terminal.size()
            self.link.send(console.RESIZE, f"{rows} {columns}".encode())

    def _obey(self, message: Message) -> None:
        if message.kind == console.DATA:
            self.show(message)
        elif message.kind == console.NOTICE:
            self.terminal.tell(message.text)
        elif message.kind == console.EXIT:
            self.status = message.status
            self.link = None  # it is over: nothing to close


class LineSession(Session):
    """A serial line: comes back after a loss; on a terminal, ctrl-a is special."""

    def __init__(self, client: Any, node: Node, terminal: Terminal, read_only: bool) -> None:
        super().__init__(client, node, terminal, "open_line", {"read_only": read_only})
        self.reading = terminal.raw or (terminal.has_input and not read_only)
        self._read_only = read_only
        self._keys = keys.EscapeKeys()
        self._hinted = False
        self._seen: int | None = None  # position in the line after the last byte shown
        self._open_at = self._give_up_at = 0.0

    def open(self, timeout_s: float, **more: Any) -> Link:
        link = super().open(timeout_s, offset=self._seen, **more)
        if self._seen is not None and link.offset > self._seen:
            self.terminal.tell(f"{link.offset - self._seen} bytes of the console are no longer to be had")
        self._seen = link.offset
        return link

    def lost(self, why: WaltError) -> None:
        now = time.monotonic()
        if self.link is not None:
            self.link = None
            self._give_up_at = now + REOPEN_FOR_S
            self.terminal.tell(f"the console of {self.node['name']} is away ({why}); trying again")
        elif isinstance(why, NotFound) or now > self._give_up_at:
            raise why
        if isinstance(why, Unreachable):
            self.client.close()  # it may lead nowhere, after a sleep of this computer, say
        self._open_at = now + REOPEN_EVERY_S

    def wants_input(self) -> bool:
        # On a terminal even while away: ctrl-a d must leave at any time. A pipe waits.
        return self.terminal.raw or super().wants_input()

    def typed(self, data: bytes) -> None:
        if not self.terminal.raw:
            self.reading = bool(data)
            if data:
                self._send(data)
            return
        if not data:  # the terminal has gone
            self.status = 0
        for action in self._keys.feed(data):
            self._act(action)

    def show(self, message: Message) -> None:
        """What is older than the last byte shown comes a second time and is dropped."""
        body = message.body
        if message.offset is not None and self._seen is not None:
            body = body[max(0, self._seen - (message.offset - len(body))) :]
            self._seen = max(self._seen, message.offset)
        self.terminal.write(body)

    def _turn(self) -> None:
        if self.link is None and time.monotonic() >= self._open_at:
            self.open(REOPEN_TIMEOUT_S)
            self.terminal.tell(f"the console of {self.node['name']} is back")
        super()._turn()

    def _act(self, action: keys.Action) -> None:
        if isinstance(action, keys.Send):
            self._send(action.data)
        elif action is keys.Order.LEAVE:
            self.status = 0
            self.terminal.tell(f"left the console of {self.node['name']}")
        elif action is keys.Order.HELP or not self._hinted:
            self._hinted = action is not keys.Order.HELP
            self.terminal.tell(keys.HELP)

    def _send(self, data: bytes) -> None:
        if self._read_only:
            if not self._hinted:
                self._hinted = True
                self.terminal.tell(f"this console is read-only; {keys.HELP}")
        elif self.link is not None:
            self.link.send(console.DATA, data)
