"""Messages of bytes beside RPC and events: to queues of users, and from an exchange to which users publish.

One connection publishes for the whole process. Each `publish` waits for the broker's confirmation of its message and
for nothing else, so that a queue that is full delays only those who publish to it.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from amqp import Message
from kombu import Connection, Queue

from services.kit import tasks
from services.kit.bus.rpc_connection import exchange_of
from services.kit.environment import account_of

HEARTBEAT_S = 20
CONNECT_LIMIT_S = 5.0
PREFETCH = 50
TURN_S = 0.05  # messages that come together are taken at once up to what this time is worth
OCTETS = {"content_type": "application/octet-stream", "content_encoding": "binary"}


class QueueGone(Exception):
    """The queue does not exist (any more)."""


class QueueFull(Exception):
    """The broker rejects messages until the queue has room again."""


class ConnectionLost(Exception):
    """The broker cannot be reached, or the connection broke; what was not confirmed may have been lost."""


@dataclass(frozen=True)
class Received:
    """user: the account of the sender, for which the broker vouches; "" if it gave none."""

    headers: Mapping[str, Any]
    user: str
    body: bytes


class StreamPublisher:
    """Connects at first use, and again after the connection was lost. Any green thread may use it."""

    def __init__(self, amqp_uri: str) -> None:
        self._uri = amqp_uri
        self._connection: _PublisherConnection | None = None

    def publish(self, queue: str, body: bytes, headers: Mapping[str, Any], **properties: str) -> None:
        """Return when the broker has taken the message. QueueGone, QueueFull or ConnectionLost. properties: of AMQP;
        without them it is bytes."""
        if self._connection is None or self._connection.is_lost:
            self._connection = _PublisherConnection(self._uri)
        self._connection.publish(queue, body, headers, {**OCTETS, **properties})

    def close(self) -> None:
        if self._connection is not None:
            self._connection.lose("this service ends")


@dataclass
class _Publication:
    queue: str
    message: Message
    is_returned: bool = False
    outcome: tasks.Signal = field(default_factory=tasks.Signal)  # None, or the exception


class _PublisherConnection:
    """Only its own tasks use the socket: a publisher may be killed while it waits, and must not leave half a frame."""

    def __init__(self, uri: str) -> None:
        self.is_lost = False
        self._uri = uri
        self._outgoing: deque[_Publication] = deque()
        self._unconfirmed: dict[int, _Publication] = {}  # by delivery tag, in order
        self._last_tag = 0
        self._wake = tasks.Signal()
        self._connection = Connection(uri, heartbeat=HEARTBEAT_S, connect_timeout=CONNECT_LIMIT_S)
        tasks.spawn(self._connect_and_write)

    def publish(self, queue: str, body: bytes, headers: Mapping[str, Any], properties: Mapping[str, str]) -> None:
        message = Message(body, application_headers=dict(headers), delivery_mode=1, **properties)
        publication = _Publication(queue, message)
        self._outgoing.append(publication)
        self._wake.set()
        error = publication.outcome.wait()
        if error is not None:
            raise error

    def lose(self, reason: object) -> None:
        """Whoever waits gets ConnectionLost."""
        if self.is_lost:
            return
        self.is_lost = True
        for publication in (*self._unconfirmed.values(), *self._outgoing):
            publication.outcome.set(ConnectionLost(f"broker: {reason}"))
        self._wake.set()
        with contextlib.suppress(Exception):
            self._connection.collect()  # wakes the reader

    def _connect_and_write(self) -> None:
        try:
            broker = self._connection.connection  # kombu's own object would connect again by itself
            channel = broker.channel()
            channel.confirm_select()
            channel.events["basic_ack"].add(self._on_ack)
            channel.events["basic_nack"].add(self._on_nack)
            channel.events["basic_return"].add(self._on_return)
            tasks.spawn(self._read, broker)
            while not self.is_lost:
                broker.heartbeat_tick()
                while self._outgoing:
                    self._write(channel, self._outgoing.popleft())
                self._wake.wait(HEARTBEAT_S / 4)
                self._wake.clear()
        except Exception as error:
            self.lose(error)
        finally:
            with contextlib.suppress(Exception):
                self._connection.collect()

    def _write(self, channel: Any, publication: _Publication) -> None:
        self._last_tag += 1
        self._unconfirmed[self._last_tag] = publication
        channel.basic_publish(publication.message, exchange="", routing_key=publication.queue, mandatory=True)

    def _read(self, broker: Any) -> None:
        try:
            while not self.is_lost:
                broker.drain_events()  # without a limit, which would hold for the writer too
        except Exception as error:
            self.lose(error)

    def _on_return(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        """No such queue. The confirmation of the message comes next."""
        for publication in self._unconfirmed.values():
            if publication.queue == routing_key:
                publication.is_returned = True

    def _on_ack(self, tag: int, multiple: bool) -> None:
        for publication in self._confirmed(tag, multiple):
            publication.outcome.set(QueueGone(publication.queue) if publication.is_returned else None)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        for publication in self._confirmed(tag, multiple):
            publication.outcome.set(QueueFull(publication.queue))

    def _confirmed(self, tag: int, multiple: bool) -> list[_Publication]:
        tags = [one for one in self._unconfirmed if one <= tag] if multiple else [tag]
        return [self._unconfirmed.pop(one) for one in tags]


@dataclass(frozen=True)
class Bounds:
    """waiting, waiting_bytes: of a queue; beyond them the broker drops the oldest messages. per_s, bytes_per_s: how
    much is taken of it; the rest waits there."""

    waiting: int
    waiting_bytes: int
    per_s: int
    bytes_per_s: int


def consume(
    amqp_uri: str,
    name: str,
    exchange: str,
    routing_key: str,
    bounds: Bounds,
    on_message: Callable[[Received], None],
    on_ready: Callable[[], None],
) -> None:
    """Pass on what is published to a topic exchange from now on, until the connection is lost: ConnectionLost.

    name: of the queue, which is made for it. on_ready is called when messages are received. on_message must not wait;
    nothing is kept.
    """
    arguments = {"x-max-length": bounds.waiting, "x-max-length-bytes": bounds.waiting_bytes}
    pace = _Pace(bounds)

    def take(message: Any) -> None:
        on_message(_received(message))
        message.channel.basic_ack(message.delivery_tag)
        pace.wait_after(len(message.body))

    try:
        with Connection(amqp_uri, heartbeat=HEARTBEAT_S, connect_timeout=CONNECT_LIMIT_S) as connection:
            channel = connection.channel()
            topic = exchange_of(account_of(amqp_uri), exchange)
            queue = Queue(name, topic, routing_key, exclusive=True, queue_arguments=arguments)(channel)
            queue.declare()
            channel.basic_qos(0, PREFETCH, False)
            channel.basic_consume(queue.name, callback=take)
            on_ready()
            while True:
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=HEARTBEAT_S / 4)
                connection.heartbeat_check()
    except (*Connection(amqp_uri).connection_errors, *Connection(amqp_uri).channel_errors) as error:
        raise ConnectionLost(f"broker: {error}") from error


class _Pace:
    """Time is paid for each message and byte; what a turn has not used of it, the next one does not get."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._paid_until = time.monotonic()

    def wait_after(self, size: int) -> None:
        now = time.monotonic()
        cost_s = max(1 / self._bounds.per_s, size / self._bounds.bytes_per_s)
        self._paid_until = max(self._paid_until, now - TURN_S) + cost_s
        if self._paid_until > now:
            tasks.sleep(self._paid_until - now)


def _received(message: Any) -> Received:
    properties = message.properties
    headers, user = properties.get("application_headers") or {}, str(properties.get("user_id", ""))
    return Received(headers, user, message.body.encode() if isinstance(message.body, str) else bytes(message.body))
