"""The messages of bytes of sessions: a publisher for each session, one consumer for the input of all.

The broker rejects output while the queue of its user is full (policy of deploy/broker/rabbitmq.py), and returns it when
that queue is gone.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.console import metrics
from services.kit import tasks
from services.kit.bus import streams
from services.kit.bus.streams import ConnectionLost, QueueFull, QueueGone, Received, StreamPublisher
from services.kit.say_once import SayOnce
from walt.contracts import console

log = logging.getLogger(__name__)

FULL_RETRY_S = 0.05
RECONNECT_S = 1.0


class UserGone(Exception):
    """The queue of the user no longer exists, or the connection to the broker is lost."""


@dataclass(frozen=True)
class InputMessage:
    """One message from a user; `user` is the account that the broker vouches for."""

    session: str
    kind: str
    user: str
    body: bytes


class SessionPublisher:
    """Output of one session, in order."""

    def __init__(self, publisher: StreamPublisher, queue: str) -> None:
        self.session = uuid.uuid4().hex
        self._publisher = publisher
        self._queue = queue
        self._lock = threading.Lock()

    def send(self, kind: str, body: bytes = b"", **headers: Any) -> None:
        """Return when the broker has taken the message, however long its queue is full. UserGone."""
        with self._lock:
            while not self._is_published(body, {"session": self.session, "kind": kind, **headers}):
                tasks.sleep(FULL_RETRY_S)
        if kind == console.DATA:
            metrics.BYTES.labels("out").inc(len(body))

    def _is_published(self, body: bytes, headers: dict[str, Any]) -> bool:
        try:
            self._publisher.publish(self._queue, body, headers)
        except QueueFull:
            return False
        except QueueGone:
            raise UserGone(f"queue {self._queue} is gone") from None
        except ConnectionLost as error:
            raise UserGone(str(error)) from error
        return True


class InputConsumer:
    """Input of all users of this host, in the order of the broker."""

    def __init__(self, uri: str, host: str, deliver: Callable[[InputMessage], None]) -> None:
        self._uri = uri
        self._key = console.input_key(host)
        self._deliver = deliver
        self._connection_fault = SayOnce(log, "no input of users: %s", "input of users is received again")
        self.is_consuming = False

    def consume(self) -> None:
        """Until the connection to the broker is lost; to be called again."""
        try:
            streams.consume(self._uri, console.INPUT_EXCHANGE, self._key, self._on_message, self._on_ready)
        except ConnectionLost as error:
            self._connection_fault.failed(error)
        finally:
            self.is_consuming = False

    def _on_ready(self) -> None:
        self.is_consuming = True
        self._connection_fault.succeeded()

    def _on_message(self, message: Received) -> None:
        """What a user sends, however malformed, must not stop the consumer."""
        session, kind = (str(message.headers.get(name, "")) for name in ("session", "kind"))
        try:
            self._deliver(InputMessage(session, kind, message.user, message.body))
        except Exception:
            log.exception("input for session %r could not be delivered", session[:64])
