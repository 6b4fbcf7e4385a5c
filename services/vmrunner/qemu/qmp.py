"""A small client of qemu's machine protocol (QMP) on a unix socket: JSON lines, answers and events mixed."""

from __future__ import annotations

import collections
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from walt.contracts.errors import Failed


class QmpClosed(Failed):
    """qemu went away."""


class Qmp:
    """One connection. qemu serves one client at a time."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._timeout_s = timeout_s
        self._socket.settimeout(timeout_s)
        self._buffer = b""
        self._events: collections.deque[dict[str, Any]] = collections.deque()
        try:
            self._socket.connect(str(path))
            self._receive()  # the greeting
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def execute(self, command: str, **arguments: Any) -> Any:
        """The command's answer. Not while another thread waits in `next_event`."""
        self._socket.settimeout(self._timeout_s)
        self.send(command, **arguments)
        while True:
            message = self._receive()
            if "return" in message:
                self._socket.settimeout(None)
                return message["return"]
            if "error" in message:
                raise Failed(f"qemu refuses {command}: {message['error'].get('desc')}")
            self._events.append(message)

    def send(self, command: str, **arguments: Any) -> None:
        """Without waiting for the answer."""
        message = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise QmpClosed(f"qemu went away ({error})") from None

    def next_event(self) -> dict[str, Any]:
        """Waits for one; QmpClosed at the end of qemu."""
        while not self._events:
            message = self._receive()
            if "event" in message:
                self._events.append(message)
        return self._events.popleft()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise Failed("qemu's monitor does not answer") from None
            except OSError as error:
                raise QmpClosed(f"qemu went away ({error})") from None
            if not data:
                raise QmpClosed("qemu went away")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                return message
        raise QmpClosed(f"this is not the monitor of a qemu: {line[:100]!r}")
