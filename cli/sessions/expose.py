"""`walt node expose`: a TCP port of a node as a port of this computer; one session per connection."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import Any, NoReturn

from walt.client import Client
from walt.contracts import console
from walt.contracts.errors import Conflict, Failed, NotFound, Refused, Unreachable, WaltError
from walt.contracts.nodes import NodeView

from ..ui.messages import print_message
from .remote_session import RemoteSession, SessionMessage

CHUNK_BYTES = 65_536
BACKLOG = 128
POLL_S = 1.0


def expose(client: Client, node: NodeView, port: int, bind: str, local_port: int) -> NoReturn:
    """Forward connections until ctrl-c."""
    with _listen(bind, local_port) as listener:
        host, actual = listener.getsockname()[:2]
        where = f"[{host}]:{actual}" if ":" in host else f"{host}:{actual}"
        print_message(f"port {port} of {node.name} is reachable at {where}; press ctrl-c to stop")
        PortForwarder(client, node, port, listener).serve_for_ever()


class PortForwarder:
    """The listener and its connections, in one loop."""

    def __init__(self, client: Client, node: NodeView, port: int, listener: socket.socket) -> None:
        self._client = client
        self._node = node
        self._port = port
        self._listener = listener
        self._connections: list[ForwardedConnection] = []

    def serve_for_ever(self) -> NoReturn:
        try:
            while True:
                self._step()
        finally:
            for connection in self._connections:
                connection.reset()

    def _step(self) -> None:
        readers: list[Any] = [one for one in self._connections if one.wants_to_read]
        if len(self._connections) < console.MAX_SESSIONS_PER_USER:  # further ones wait in the backlog
            readers.append(self._listener)
        if self._client.fileno() is not None:
            readers.append(self._client.fileno())
        writers = [one for one in self._connections if one.wants_to_write]
        readable, writable, _ = select.select(readers, writers, [], POLL_S)
        try:
            if self._client.fileno() in readable:
                self._client.drain(0)
            if self._listener in readable:
                self._accept()
            for connection in list(self._connections):
                self._serve(connection, connection in readable, connection in writable)
        except Unreachable as why:  # no broker: all sessions are lost, but later ones may work
            print_message(f"walt: {why}")
            self._abort_all()
        if self._client.fileno() is None:
            self._abort_all()

    def _abort_all(self) -> None:
        while self._connections:
            self._connections.pop().abort()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            accepted, _ = self._listener.accept()
            with contextlib.ExitStack() as undo:
                undo.callback(accepted.close)
                arguments: dict[str, Any] = {"node": self._node.name, "port": self._port}
                remote = RemoteSession(self._client, self._node.host, "open_forward", **arguments)
                undo.pop_all()
            self._connections.append(ForwardedConnection(accepted, remote))

    def _serve(self, connection: ForwardedConnection, readable: bool, writable: bool) -> None:
        try:
            connection.step(time.monotonic(), readable, writable)
        except (Conflict, Failed) as why:
            print_message(f"walt: {why}")
            connection.abort()
        except Refused:
            connection.abort()
            raise
        except OSError:  # the local peer has reset it
            connection.reset()
        if connection.is_closed:
            self._connections.remove(connection)


class ForwardedConnection:
    """One TCP connection and its session. Each direction runs at the pace of its reader and ends on its own."""

    def __init__(self, accepted: socket.socket, remote: RemoteSession) -> None:
        self.is_closed = False
        self._socket = accepted
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._session = remote
        self._input_ended = False
        self._exit: int | None = None
        self._pending = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def wants_to_read(self) -> bool:
        return not self._input_ended and self._session.may_send

    @property
    def wants_to_write(self) -> bool:
        return bool(self._pending)

    def step(self, now: float, readable: bool, writable: bool) -> None:
        if not self._session.is_open(now):
            return
        if readable:
            self._read()
        if writable:
            self._write()
        while not self._pending and self._exit is None and (message := self._session.receive_one()):
            self._handle(message)
        if self._exit is None:
            self._keep(now)
        elif not self._pending:
            self._close(broken=self._exit != 0)

    def reset(self) -> None:
        """Close both sides; the node sees the connection reset."""
        with contextlib.suppress(WaltError):
            self._session.close()
        self._close(broken=True)

    def abort(self) -> None:
        """Reset the local side; the session is lost or refused already."""
        self._close(broken=True)

    def _keep(self, now: float) -> None:
        try:
            self._session.keep(now)
        except (NotFound, Unreachable) as why:
            raise Failed(f"a connection is lost: {why}") from why

    def _read(self) -> None:
        try:
            data = self._socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        if data:
            self._session.send(console.DATA, data)
        else:
            self._input_ended = True
            self._session.send(console.END_OF_INPUT)

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._pending = self._pending[self._socket.send(self._pending) :]

    def _handle(self, message: SessionMessage) -> None:
        if message.kind == console.DATA:
            self._pending = message.body
            self._write()
        elif message.kind == console.END_OF_INPUT:
            self._socket.shutdown(socket.SHUT_WR)
        elif message.kind == console.NOTICE:
            print_message(f"walt: {message.text}")
        elif message.kind == console.EXIT:
            self._exit = message.status

    def _close(self, *, broken: bool) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if broken:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        with contextlib.suppress(WaltError):
            self._session.close_mailbox()


def _listen(bind: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        listener = socket.create_server((bind, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]  # added by Python
        raise Failed(f"port {port} of {bind} cannot be opened for listening: {reason}") from None
    listener.setblocking(False)
    return listener
