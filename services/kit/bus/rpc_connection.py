"""One connection of a service to the broker: its calls under way, and the green thread that reads their replies."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from amqp.exceptions import AMQPError
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError
from nameko.standalone.events import get_event_exchange

from services.kit import tasks
from services.kit.environment import account_of
from walt.contracts.agent_rights import host_of, reply_prefix
from walt.contracts.broker_permissions import EXPIRES_AFTER, INTERNAL_EXCHANGE, RPC_EXCHANGE

log = logging.getLogger(__name__)

CONNECT_LIMIT_S = 5.0
HEARTBEAT_S = 20
SETTLED_S = 30.0  # after an alarm: what was sent in it has arrived by then
BROKER_ERRORS = (OSError, AMQPError, OperationalError)  # of a broker that is away or goes away


def exchange_of(account: str, name: str, arguments: Mapping[str, Any] | None = None) -> Exchange:
    """A topic exchange, which this account declares before it uses it; the agents of a further host may not, and find
    those that the broker begins with (deploy/broker/rabbitmq.py)."""
    return Exchange(name, "topic", durable=True, arguments=arguments, no_declare=bool(host_of(account)))


def internal_exchange(account: str) -> Exchange:
    """Of calls between services. What a service takes from no queue of this exchange goes on to RPC_EXCHANGE: one of
    the version before."""
    return exchange_of(account, INTERNAL_EXCHANGE, {"alternate-exchange": RPC_EXCHANGE})


class Alarm:
    """Of the broker, as its connections are told."""

    def __init__(self) -> None:
        self.is_on = False
        self._last_on: float | None = None

    def begin(self, reason: str) -> None:
        if not self.is_on:
            log.warning("the broker takes no messages: %s", reason)
        self.is_on, self._last_on = True, time.monotonic()

    def end(self) -> None:
        if self.is_on:
            self.is_on, self._last_on = False, time.monotonic()
            log.warning("the broker takes messages again")

    def was_on_lately(self) -> bool:
        return self._last_on is not None and time.monotonic() - self._last_on < SETTLED_S


class RpcCall:
    """One request under way."""

    def __init__(self, channel: RpcConnection, key: str) -> None:
        self._channel, self._key = channel, key
        self._event = tasks.Signal()

    def reply(self, timeout_s: float) -> Mapping[str, Any] | None:
        """None after timeout_s, and at once where nobody has such a queue. ConnectionError when the connection was
        lost."""
        try:
            found = self._event.wait(timeout_s)
        finally:
            self._channel.calls.pop(self._key, None)
        if isinstance(found, Exception):
            raise found
        return None if found is None or found is _UNROUTABLE else found

    def answer(self, reply: Any) -> None:
        self._event.set(reply)

    def close_connection(self) -> None:
        self._channel.close()


_UNROUTABLE: Mapping[str, Any] = {}


class RpcConnection:
    """A connection with its reply queue and the green thread that reads both. Everything that waits for an answer of
    the broker is done before that thread begins: afterwards it alone reads."""

    def __init__(self, amqp_uri: str, service: str, alarm: Alarm) -> None:
        """service: with its host (netemu@lab1)."""
        self.is_lost = False
        self.calls: dict[str, RpcCall] = {}
        self._alarm, self._account = alarm, account_of(amqp_uri)
        self._is_open = False
        self._connection = Connection(
            amqp_uri,
            heartbeat=HEARTBEAT_S,
            connect_timeout=CONNECT_LIMIT_S,
            transport_options={"on_blocked": self._on_blocked, "on_unblocked": alarm.end},
        )
        channel = self._connection.channel()
        self._queue = f"{reply_prefix(service)}{uuid.uuid4()}"
        internal_exchange(self._account)(channel).declare()  # nobody may have listened yet
        exchange = exchange_of(self._account, RPC_EXCHANGE)  # a service of the version before replies by it
        replies = Queue(self._queue, exchange, self._queue, exclusive=True, auto_delete=True)
        consumer = self._connection.Consumer(replies, channel=channel, on_message=self._on_reply, no_ack=True)
        self._producer = self._connection.Producer(channel, serializer="json", on_return=self._on_return)
        self._declared: set[str] = set()
        self._publish("", "", self._queue)  # the broker tells of an alarm who sends it something
        consumer.consume()  # answered if there is none
        self._is_open = True
        alarm.end()
        self._reader = tasks.spawn(self._read)

    def probe(self) -> None:
        self._check()
        self._publish("", "", self._queue)

    def send(self, routing_key: str, request: Any, timeout_s: float) -> RpcCall:
        self._check()
        key = uuid.uuid4().hex
        call = self.calls[key] = RpcCall(self, key)
        try:
            self._publish(
                request,
                INTERNAL_EXCHANGE,
                routing_key,
                mandatory=True,
                reply_to=self._queue,
                correlation_id=key,
                message_id=key,
                expiration=timeout_s * EXPIRES_AFTER,
                user_id=self._account,
            )
        except BaseException:
            del self.calls[key]
            raise
        return call

    def publish_event(self, service: str, event: str, payload: Any) -> None:
        self._check()
        name = get_event_exchange(service, {}).name
        if name not in self._declared:  # nobody may have listened yet, and a new broker knows nothing
            exchange_of(self._account, name)(self._producer.channel).declare(nowait=True)
            self._declared.add(name)
        self._publish(payload, name, event, delivery_mode=2, user_id=self._account)

    def close(self) -> None:
        self._lose(ConnectionError("this service ends"))
        self._reader.kill()

    def _on_blocked(self, reason: str) -> None:
        self._alarm.begin(reason)
        if not self._is_open:
            self._connection.collect()
            self._check()

    def _publish(self, body: Any, exchange: str, routing_key: str, **properties: Any) -> None:
        try:
            self._producer.publish(body, exchange=exchange, routing_key=routing_key, **properties)
        except BROKER_ERRORS as error:
            self._lose(error)
            raise

    def _check(self) -> None:
        if self._alarm.is_on:
            raise ConnectionError("it takes no messages, since its disk or memory is full")

    def _read(self) -> None:
        try:
            while not self.is_lost:
                with contextlib.suppress(TimeoutError):
                    self._connection.drain_events(timeout=HEARTBEAT_S / 4)
                self._connection.heartbeat_check()
        except Exception as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        """All who wait for a reply are told at once; whoever calls next makes a new connection."""
        if self.is_lost:
            return
        self.is_lost = True
        for call in list(self.calls.values()):
            call.answer(ConnectionError(str(error) or "the connection was lost"))
        with contextlib.suppress(Exception):
            self._connection.collect()

    def _on_reply(self, message: Any) -> None:
        call = self.calls.get(message.properties.get("correlation_id"))
        if call is not None:
            call.answer(message.decode())

    def _on_return(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        call = self.calls.get(message.properties.get("correlation_id"))
        if call is not None:
            call.answer(_UNROUTABLE)
