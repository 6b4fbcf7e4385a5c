"""One TCP connection from this host to a port of a node, as a session: transparent, each direction ends by itself."""

from __future__ import annotations

import contextlib
import os
import socket  # eventlet's, in a service process
import struct

import eventlet
from eventlet.event import Event
from eventlet.green import os as green_os

from services.console import metrics
from services.console.courier import Input, Outbox
from services.contracts import console

CHUNK_BYTES = 16_384
CONNECT_LIMIT_S = 10.0


class Forward:
    """Over once both sides have ended their direction, or one of them broke it."""

    kind = metrics.FORWARD

    def __init__(self, node: str, ip: str, port: int) -> None:
        self._peer = f"port {port} of {node}"
        self._address = (ip, port)
        self._socket: socket.socket | None = None
        self._connected = Event()  # True, or False when it was refused
        self._input_over = Event()
        self._over = Event()
        self._reason = ""

    def pump(self, outbox: Outbox) -> None:
        receiving = eventlet.spawn(self._connect_and_receive, outbox)
        try:
            self._over.wait()
            if self._reason:
                outbox.send(console.NOTICE, self._reason.encode())
            outbox.send(console.EXIT, b"1" if self._reason else b"0")
        finally:
            receiving.kill()
            self._close()

    def take(self, message: Input, outbox: Outbox) -> None:
        if message.kind not in (console.DATA, console.END_OF_INPUT) or not self._connected.wait():
            return
        assert self._socket is not None
        try:
            if message.kind == console.DATA:
                self._socket.sendall(message.body)
            else:
                _fire(self._input_over)
                self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._broken(error)

    def stop(self, reason: str = "") -> None:
        self._reason = self._reason or reason
        _fire(self._over)

    def _connect_and_receive(self, outbox: Outbox) -> None:
        try:
            self._socket = socket.create_connection(self._address, CONNECT_LIMIT_S)
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self.stop(f"{self._peer} does not answer: {_text(error)}")
            self._connected.send(False)
            return
        self._connected.send(True)
        try:
            # Not recv: eventlet's takes a connection that was reset for one that has ended.
            while data := green_os.read(self._socket.fileno(), CHUNK_BYTES):
                outbox.send(console.DATA, data)
            outbox.send(console.END_OF_INPUT)
            self._input_over.wait()
            self.stop()
        except OSError as error:
            self._broken(error)

    def _broken(self, error: OSError) -> None:
        self.stop(f"{self._peer} broke the connection: {_text(error)}")

    def _close(self) -> None:
        """A connection that the user broke is broken for the node too."""
        if self._socket is not None:
            if not self._input_over.ready():
                with contextlib.suppress(OSError):
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()


def _fire(event: Event) -> None:
    if not event.ready():
        event.send()


def _text(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
