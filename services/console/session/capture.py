"""A capture of netemu as a session: pieces of its file, until it ends or the user has enough."""

from __future__ import annotations

import contextlib
import json
import socket

from services.console import metrics
from services.console.amqp_streams import InputMessage, SessionPublisher, UserGone
from services.console.session.forward import text_of
from services.kit import tasks
from walt.contracts import console, serialization
from walt.contracts.errors import EXIT_SESSION_LOST, Failed
from walt.contracts.netemu import CAPTURE_END, CAPTURE_MESSAGE_BYTES, CaptureEnd, OpenCapture

CONNECT_LIMIT_S = 5.0


class CaptureStream:
    """An endpoint (`sessions.Endpoint`). The next piece is read when the broker has taken the last: the process of the
    capture counts what it has no room for meanwhile."""

    kind = metrics.CAPTURE

    def __init__(self, opened: OpenCapture) -> None:
        self._ended = tasks.Signal()  # True, or why it is stopped
        self._end: CaptureEnd | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.settimeout(CONNECT_LIMIT_S)
            self._socket.connect(f"\0{opened.address}")
            self._socket.send(opened.key.encode())
            self._socket.settimeout(None)
        except OSError as error:
            self._socket.close()
            raise Failed(f"the capture does not answer: {text_of(error)}") from None

    def run(self, publisher: SessionPublisher) -> None:
        receiving = tasks.spawn(self._receive, publisher)
        try:
            reason = self._ended.wait()
            for notice in _notices(self._end, reason):
                publisher.send(console.NOTICE, notice.encode())
            publisher.send(console.EXIT, str(_status(self._end, reason)).encode())
        finally:
            receiving.kill()
            self._socket.close()

    def handle(self, message: InputMessage, publisher: SessionPublisher) -> None:
        if message.kind == console.END_OF_INPUT:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                self._socket.shutdown(socket.SHUT_WR)

    def stop(self, reason: str = "") -> None:
        self._ended.set(reason)

    def _receive(self, publisher: SessionPublisher) -> None:
        reason = "the process of the capture has died"
        try:
            while message := tasks.read(self._socket.fileno(), CAPTURE_MESSAGE_BYTES):
                if message[:1] == CAPTURE_END:
                    self._end = serialization.load(CaptureEnd, json.loads(message[1:]))
                    reason = ""
                    return
                publisher.send(console.DATA, message[1:])
        except OSError as error:
            reason = f"the capture broke off: {text_of(error)}"
        except UserGone:
            reason = ""
        finally:
            self._ended.set(reason)


def _notices(end: CaptureEnd | None, reason: str) -> list[str]:
    """What the user reads at the end. Pure."""
    counts = [f"{end.captured} frames captured, {end.missed} not captured"] if end else []
    return [*counts, *filter(None, (reason, end.fault if end else ""))]


def _status(end: CaptureEnd | None, reason: str) -> int:
    """Pure."""
    if reason or end is None:
        return EXIT_SESSION_LOST
    return 1 if end.fault else 0
