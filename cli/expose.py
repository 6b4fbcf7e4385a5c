"""`walt node expose`: a port of a node as a port of this computer; a session for each connection."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import Any, NoReturn

from cli.link import Link, Message
from cli.output import say
from cli.waiting import Node
from services.contracts import console
from services.contracts.errors import Conflict, Failed, NotFound, Refused, Unreachable, WaltError

CHUNK_BYTES = 16_384
BACKLOG = 128
TURN_S = 1.0


def expose(client: Any, node: Node, port: int, bind: str, local_port: int) -> NoReturn:
    """Until ctrl-c."""
    with _listen(bind, local_port) as listener:
        host, actual = listener.getsockname()[:2]
        where = f"[{host}]:{actual}" if ":" in host else f"{host}:{actual}"
        say(f"port {port} of {node['name']} is at {where}; ctrl-c ends")
        Exposed(client, node, port, listener).serve_for_ever()


class Exposed:
    """The listener and its connections, in one loop."""

    def __init__(self, client: Any, node: Node, port: int, listener: socket.socket) -> None:
        self._client = client
        self._node = node
        self._port = port
        self._listener = listener
        self._connections: list[Connection] = []

    def serve_for_ever(self) -> NoReturn:
        try:
            while True:
                self._turn()
        finally:
            for connection in self._connections:
                connection.end()

    def _turn(self) -> None:
        readers: list[Any] = [one for one in self._connections if one.wants_to_read]
        if len(self._connections) < console.MAX_SESSIONS_PER_USER:  # the others wait to be accepted
            readers.append(self._listener)
        if self._client.fileno() is not None:
            readers.append(self._client.fileno())
        writers = [one for one in self._connections if one.wants_to_write]
        readable, writable, _ = select.select(readers, writers, [], TURN_S)
        try:
            if self._client.fileno() in readable:
                self._client.drain(0)
            if self._listener in readable:
                self._accept()
            for connection in list(self._connections):
                self._serve(connection, connection in readable, connection in writable)
        except Unreachable as why:  # the connection to the broker: all sessions are lost, a new one may work
            say(f"walt: {why}")
            self._abort_all()
        if self._client.fileno() is None:
            self._abort_all()

    def _abort_all(self) -> None:
        while self._connections:
            self._connections.pop().abort()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            near, _ = self._listener.accept()
            with contextlib.ExitStack() as undo:
                undo.callback(near.close)
                link = Link(self._client, self._node["host"], "open_forward", node=self._node["name"], port=self._port)
                undo.pop_all()
            self._connections.append(Connection(near, link))

    def _serve(self, connection: Connection, readable: bool, writable: bool) -> None:
        try:
            connection.turn(time.monotonic(), readable, writable)
        except (Conflict, Failed) as why:
            say(f"walt: {why}")
            connection.abort()
        except Refused:
            connection.abort()
            raise
        except OSError:  # the one who connected has broken it off
            connection.end()
        if connection.over:
            self._connections.remove(connection)


class Connection:
    """One TCP connection and its session: each direction at the pace of its reader, each ends by itself."""

    def __init__(self, near: socket.socket, link: Link) -> None:
        self.over = False
        self._near = near
        self._near.setblocking(False)
        self._near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._link = link
        self._near_is_over = False
        self._exit: int | None = None
        self._waiting = b""

    def fileno(self) -> int:
        return self._near.fileno()

    @property
    def wants_to_read(self) -> bool:
        return not self._near_is_over and self._link.may_send

    @property
    def wants_to_write(self) -> bool:
        return bool(self._waiting)

    def turn(self, now: float, readable: bool, writable: bool) -> None:
        if not self._link.is_open(now):
            return
        if readable:
            self._read()
        if writable:
            self._write()
        while not self._waiting and self._exit is None and (message := self._link.receive_one()):
            self._obey(message)
        if self._exit is None:
            self._keep(now)
        elif not self._waiting:
            self._close(broken=self._exit != 0)

    def end(self) -> None:
        """The node sees the connection broken."""
        with contextlib.suppress(WaltError):
            self._link.close()
        self._close(broken=True)

    def abort(self) -> None:
        self._close(broken=True)

    def _keep(self, now: float) -> None:
        try:
            self._link.keep(now)
        except (NotFound, Unreachable) as why:
            raise Failed(f"a connection is lost: {why}") from why

    def _read(self) -> None:
        try:
            data = self._near.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        if data:
            self._link.send(console.DATA, data)
        else:
            self._near_is_over = True
            self._link.send(console.END_OF_INPUT)

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._waiting = self._waiting[self._near.send(self._waiting) :]

    def _obey(self, message: Message) -> None:
        if message.kind == console.DATA:
            self._waiting = message.body
            self._write()
        elif message.kind == console.END_OF_INPUT:
            self._near.shutdown(socket.SHUT_WR)
        elif message.kind == console.NOTICE:
            say(f"walt: {message.text}")
        elif message.kind == console.EXIT:
            self._exit = message.status

    def _close(self, *, broken: bool) -> None:
        if self.over:
            return
        self.over = True
        if broken:
            with contextlib.suppress(OSError):
                self._near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._near.close()
        with contextlib.suppress(WaltError):
            self._link.forget()


def _listen(bind: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        listener = socket.create_server((bind, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]  # Python's own addition
        raise Failed(f"port {port} of {bind} cannot be listened on: {reason}") from None
    listener.setblocking(False)
    return listener
