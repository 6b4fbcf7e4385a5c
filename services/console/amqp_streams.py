"""The messages of bytes of sessions: a publisher for each session, a consumer for the input of each user.

The broker rejects output while the queue of its user is full (policy of deploy/broker/rabbitmq.py), and returns it when
that queue is gone.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.console import metrics
from services.kit import tasks
from services.kit.bus import streams
from services.kit.bus.streams import Bounds, ConnectionLost, QueueFull, QueueGone, Received, StreamPublisher
from services.kit.say_once import SayOnce
from walt.contracts import console
from walt.contracts.errors import Unreachable

log = logging.getLogger(__name__)

FULL_RETRY_S = 0.05
RECONNECT_S = 1.0
OPEN_LIMIT_S = 10.0
UNUSED_S = 60.0  # after its last session the input of a user is closed
# A client that keeps to its windows loses nothing, whatever all its sessions send at once.
INPUT_BOUNDS = Bounds(
    waiting=console.MAX_SESSIONS_PER_USER * console.INPUT_WINDOW_MESSAGES,
    waiting_bytes=console.MAX_SESSIONS_PER_USER * console.INPUT_WINDOW,
    per_s=1000,
    bytes_per_s=64 * 2**20,
)


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


class UserInput:
    """What one user sends to his sessions on this host: a queue, a connection and a green thread of his own, so that a
    flood delays nobody else."""

    def __init__(self, uri: str, host: str, user: str, deliver: Callable[[InputMessage], None]) -> None:
        self.key = console.input_key(host, uuid.uuid4().hex)
        self._service = console.service_on(host)
        self.is_received = tasks.Signal()
        self.used_at = time.monotonic()
        self._uri = uri
        self._deliver = deliver
        fault = f"no input of {user}: %s"
        self.connection_fault = SayOnce(log, fault, f"input of {user} is received again")
        self._task = tasks.spawn_loop("input of users", self._consume, every_s=RECONNECT_S)

    def close(self) -> None:
        self._task.kill()

    def _consume(self) -> None:
        try:
            queue = f"input-{self._service}-{uuid.uuid4().hex}"
            hear = (INPUT_BOUNDS, self._on_message, self._on_ready)
            streams.consume(self._uri, queue, console.INPUT_EXCHANGE, self.key, *hear)
        except ConnectionLost as error:
            self.connection_fault.failed(error)
        finally:
            self.is_received.clear()

    def _on_ready(self) -> None:
        self.is_received.set()
        self.connection_fault.succeeded()

    def _on_message(self, message: Received) -> None:
        """What a user sends, however malformed, must not stop the consumer."""
        session, kind = (str(message.headers.get(name, "")) for name in ("session", "kind"))
        try:
            self._deliver(InputMessage(session, kind, message.user, message.body))
        except Exception:
            log.exception("input for session %r could not be delivered", session[:64])


class UserInputs:
    """Of all users who have sessions on this host."""

    def __init__(self, uri: str, host: str, deliver: Callable[[InputMessage], None]) -> None:
        self._uri, self._host, self._deliver = uri, host, deliver
        self._inputs: dict[str, UserInput] = {}

    def open(self, user: str) -> None:
        """Return once what he sends with his key is received. Unreachable."""
        if user not in self._inputs:
            self._inputs[user] = UserInput(self._uri, self._host, user, self._deliver)
        one = self._inputs[user]
        one.used_at = time.monotonic()
        if not one.is_received.wait(OPEN_LIMIT_S):
            raise Unreachable("the broker delivers no console input")

    def key_of(self, user: str) -> str:
        """The routing key for all sessions of a user for whom it is open."""
        return self._inputs[user].key

    def close_unused(self, users: set[str]) -> None:
        """users: who have sessions."""
        now = time.monotonic()
        for user, one in list(self._inputs.items()):
            if user in users:
                one.used_at = now
            elif one.used_at < now - UNUSED_S:
                self._inputs.pop(user).close()

    def close(self) -> None:
        for one in self._inputs.values():
            one.close()
        self._inputs.clear()

    def unheard(self) -> list[str]:
        """Users whose input is not received, though they have sessions."""
        return sorted(user for user, one in self._inputs.items() if one.connection_fault.fault)
