"""One TCP connection from this host to a port of a node, as a session: transparent, each direction ends separately."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from services.console import metrics
from services.console.amqp_streams import InputMessage, SessionPublisher
from services.kit import tasks
from walt.contracts import console

CHUNK_BYTES = 65_536
CONNECT_LIMIT_S = 10.0


class PortForward:
    """An endpoint (`sessions.Endpoint`). Ends when both directions have ended, or one side resets the connection."""

    kind = metrics.FORWARD

    def __init__(self, node: str, ip: str, port: int) -> None:
        self._peer = f"port {port} of {node}"
        self._address = (ip, port)
        self._socket: socket.socket | None = None
        self._connected = tasks.Signal()  # True; False if it was refused
        self._input_ended = tasks.Signal()
        self._ended = tasks.Signal()
        self._failure = ""

    def run(self, publisher: SessionPublisher) -> None:
        receiving = tasks.spawn(self._connect_and_receive, publisher)
        try:
            self._ended.wait()
            if self._failure:
                publisher.send(console.NOTICE, self._failure.encode())
            publisher.send(console.EXIT, b"1" if self._failure else b"0")
        finally:
            receiving.kill()
            self._close()

    def handle(self, message: InputMessage, publisher: SessionPublisher) -> None:
        if message.kind not in (console.DATA, console.END_OF_INPUT) or not self._connected.wait():
            return
        assert self._socket is not None
        try:
            if message.kind == console.DATA:
                self._socket.sendall(message.body)
            else:
                self._input_ended.set()
                self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fail(error)

    def stop(self, reason: str = "") -> None:
        self._failure = self._failure or reason
        self._ended.set()

    def _connect_and_receive(self, publisher: SessionPublisher) -> None:
        try:
            self._socket = socket.create_connection(self._address, CONNECT_LIMIT_S)
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self.stop(f"{self._peer} does not answer: {text_of(error)}")
            self._connected.set(False)
            return
        self._connected.set(True)
        try:
            # Not recv: in a green thread it reports a connection that was reset as one that has ended.
            while data := tasks.read(self._socket.fileno(), CHUNK_BYTES):
                publisher.send(console.DATA, data)
            publisher.send(console.END_OF_INPUT)
            self._input_ended.wait()
            self.stop()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.stop(f"{self._peer} broke the connection: {text_of(error)}")

    def _close(self) -> None:
        """Reset the connection if the user left before the input ended: that is not the end of the input."""
        if self._socket is not None:
            if not self._input_ended.is_set():
                with contextlib.suppress(OSError):
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()


def text_of(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
