"""Raw AMQP messages: an outbox per session, one inlet for the input of all.

Each outbox has a connection of its own, so that a viewer whose queue is full makes only itself wait. The broker
confirms each message; it refuses one while the viewer's queue is full (policy of deploy/local/broker.py), and
returns one whose queue is gone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import eventlet
from amqp.exceptions import MessageNacked
from eventlet.semaphore import Semaphore
from kombu import Connection, Consumer, Exchange, Producer, Queue

from services.console import metrics
from services.contracts import console

log = logging.getLogger(__name__)

FULL_RETRY_S = 0.05
CLOSE_LIMIT_S = 2.0
INLET_RETRY_S = 1.0
PREFETCH = 200


class ViewerGone(Exception):
    """The queue of the viewer is no more, or the broker is not."""


@dataclass(frozen=True)
class Input:
    """One message from a user; `user` is the broker's word."""

    session: str
    kind: str
    user: str
    body: bytes


class Outbox:
    """Messages to one viewer, in order. `send` returns when the broker has taken the message."""

    def __init__(self, uri: str, queue: str, session: str) -> None:
        self._queue = queue
        self._session = session
        self._returned = False
        self._turn = Semaphore()
        self._connection = Connection(uri, heartbeat=0, transport_options={"confirm_publish": True})
        self._producer: Any = None

    def send(self, kind: str, body: bytes = b"", **headers: Any) -> None:
        with self._turn:
            while not self._published(kind, body, headers):
                eventlet.sleep(FULL_RETRY_S)
        if kind == console.DATA:
            metrics.BYTES.labels("out").inc(len(body))

    def close(self) -> None:
        with contextlib.suppress(Exception), eventlet.Timeout(CLOSE_LIMIT_S, False):
            self._connection.release()
        self._connection.collect()

    def _published(self, kind: str, body: bytes, headers: dict[str, Any]) -> bool:
        try:
            if self._producer is None:
                self._producer = Producer(self._connection.channel(), on_return=self._on_return)
            self._producer.publish(
                body,
                routing_key=self._queue,
                headers={"session": self._session, "kind": kind, **headers},
                content_type="application/octet-stream",
                content_encoding="binary",
                delivery_mode=1,
                mandatory=True,
            )
        except MessageNacked:
            return False
        except (*self._connection.connection_errors, *self._connection.channel_errors) as error:
            raise ViewerGone(f"broker: {error}") from error
        if self._returned:
            raise ViewerGone(f"queue {self._queue} is gone")
        return True

    def _on_return(self, *_: Any) -> None:
        self._returned = True


class Inlet:
    """Input of all users of this host, in the order of the broker; connects again for ever."""

    def __init__(self, uri: str, host: str, deliver: Callable[[Input], None]) -> None:
        self._uri = uri
        self._key = console.input_key(host)
        self._deliver = deliver
        self.listening = False

    def run(self) -> None:
        while True:
            try:
                with Connection(self._uri, heartbeat=20, connect_timeout=5) as connection:
                    self._consume(connection)
            except Exception as error:
                log.warning("console input: %s; trying again", error)
            self.listening = False
            eventlet.sleep(INLET_RETRY_S)

    def _consume(self, connection: Connection) -> None:
        channel = connection.channel()
        exchange = Exchange(console.INPUT_EXCHANGE, "topic", durable=True)
        # Unnamed and exclusive: what users send while nobody listens belongs to sessions that are gone too.
        queue = Queue("", exchange, self._key, exclusive=True)
        channel.basic_qos(0, PREFETCH, False)
        with Consumer(channel, [queue], on_message=self._on_message, on_decode_error=_drop, accept=None):
            self.listening = True
            while True:
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=5)
                connection.heartbeat_check()

    def _on_message(self, message: Any) -> None:
        try:
            self._deliver(
                Input(
                    session=str(message.headers.get("session", "")),
                    kind=str(message.headers.get("kind", "")),
                    user=str(message.properties.get("user_id", "")),
                    body=bytes(message.body) if not isinstance(message.body, str) else message.body.encode(),
                )
            )
        except Exception:
            log.exception("an input message could not be delivered")
        message.ack()


def _drop(message: Any, error: Exception) -> None:
    """What cannot be read disturbs nobody else."""
    message.ack()
