"""The control socket of the cable, beside its frames: what comes and goes in pieces never stops the loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from services.netemu.cable.switch import Switch

MAX_REQUEST_BYTES = 65536
MAX_CLIENTS = 64  # netemu needs one; each is a descriptor
PIECE_BYTES = 65536


class Answering:
    """One line comes from each client, one goes back, then the connection ends."""

    def __init__(self, switch: Switch, listener: socket.socket, answer: Callable[[bytes], bytes]) -> None:
        self._switch = switch
        self._listener = listener
        self._answer = answer
        self._requests: dict[socket.socket, bytes] = {}
        self._answers: dict[socket.socket, bytes] = {}
        listener.setblocking(False)
        switch.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the client is gone already
            client, _ = self._listener.accept()
            client.setblocking(False)
            self._requests[client] = b""
            self._switch.watch(client.fileno(), lambda: self._read(client))
        if len(self._requests) > MAX_CLIENTS:
            self._close(next(iter(self._requests)))

    def _read(self, client: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = client.recv(PIECE_BYTES)
        text = self._requests[client] = self._requests[client] + data
        if b"\n" in text:
            self._answers[client] = self._answer(text)
            self._switch.unwatch(client.fileno())
            self._switch.watch(client.fileno(), lambda: self._write(client), is_writing=True)
            self._write(client)
        elif not data or len(text) > MAX_REQUEST_BYTES:
            self._close(client)

    def _write(self, client: socket.socket) -> None:
        left = self._answers[client]
        try:
            left = left[client.send(left[:PIECE_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # the client is gone: it needs no answer
            left = b""
        self._answers[client] = left
        if not left:
            self._close(client)

    def _close(self, client: socket.socket) -> None:
        del self._requests[client]
        self._answers.pop(client, None)
        self._switch.unwatch(client.fileno())
        client.close()
