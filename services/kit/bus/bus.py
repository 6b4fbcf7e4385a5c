"""Calls to other services and events of this one, over one long-lived connection with one reply queue.

    bus.call("netemu@lab1", "attach_ports", node_id=3, …)      the reply; Unreachable, or the peer's own error
    bus.announce(NODE_BOOTED, NodeBooted(…))                   an event in the name of this service

Any green thread may use it. The connection is made at first use and again after it was lost.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from amqp.exceptions import NotFound, ResourceLocked
from kombu import Connection
from nameko.exceptions import deserialize

from services.kit.bus.arguments import dump
from services.kit.bus.rpc_connection import BROKER_ERRORS, CONNECT_LIMIT_S, Alarm, RpcConnection
from walt.contracts import serialization
from walt.contracts.errors import Failed, Unreachable, WaltError

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 15.0


class Bus(Protocol):
    """What an application needs of the bus; `tests.support.fakes` has one without a broker."""

    def call(
        self, service: str, method: str, *values: Any, timeout_s: float = DEFAULT_TIMEOUT_S, **arguments: Any
    ) -> Any:
        """The peer's reply. Dataclasses among the arguments are dumped. Unreachable when the peer or the broker does
        not answer in time. The request expires with the time-out: a peer that comes back later must not obey it.

        timeout_s is the caller's; a method with a parameter of that name gets its arguments as values, in order.
        """

    def announce(self, event: str, value: Any) -> bool:
        """An event that cannot be sent is logged and dropped: whoever needs it reconciles with its owner. False then,
        for who has a better moment to say it again."""

    def ping(self) -> Mapping[str, Any]:
        """The broker's own properties ("product", "version", …) over a new connection; Unreachable without an
        answer."""


class BrokerBus:
    """service_name: of the service whose calls and events these are, an agent's with its host (netemu@lab1)."""

    def __init__(self, amqp_uri: str, service_name: str) -> None:
        self._uri = amqp_uri
        self._name, self._service = service_name, service_name.partition("@")[0]
        self._lock = threading.Lock()
        self._channel: RpcConnection | None = None
        self._alarm = Alarm()

    @property
    def is_blocked(self) -> bool:
        """Whether the broker takes no messages, since it has an alarm of disk or memory: by the last `probe`."""
        return self._alarm.is_on

    @property
    def was_blocked_lately(self) -> bool:
        return self._alarm.was_on_lately()

    def probe(self) -> None:
        """Stay connected, and learn of an alarm: the broker tells only who sends it something."""
        with contextlib.suppress(*BROKER_ERRORS), self._lock:
            self._open().probe()

    def has_queue(self, name: str) -> bool:
        """Unreachable when the broker does not say."""
        try:
            with Connection(self._uri, connect_timeout=CONNECT_LIMIT_S) as connection:
                connection.channel().queue_declare(name, passive=True)
        except ResourceLocked:  # it is another connection's own
            return True
        except NotFound:
            return False
        except BROKER_ERRORS as error:
            raise Unreachable(f"the broker does not answer ({error})") from None
        return True

    def call(
        self, service: str, method: str, *values: Any, timeout_s: float = DEFAULT_TIMEOUT_S, **arguments: Any
    ) -> Any:
        request = {"args": dump(list(values)), "kwargs": {name: dump(value) for name, value in arguments.items()}}
        try:
            with self._lock:
                call = self._open().send(f"{service}.{method}", request, timeout_s)
            reply = call.reply(timeout_s)
        except BROKER_ERRORS as error:
            raise Unreachable(f"the broker does not answer ({error})") from None
        if reply is None:
            if self.is_blocked:  # the request may lie at the broker unread; without this connection nobody obeys it
                call.close_connection()
            raise Unreachable(f"{service} does not answer ({method}, {timeout_s:g} s)")
        if reply["error"] is None:
            return reply["result"]
        fault = deserialize(reply["error"])
        if isinstance(fault, WaltError):
            raise fault
        raise Failed(f"{service}.{method}: {fault}")

    def announce(self, event: str, value: Any) -> bool:
        payload = serialization.dump(value) if dataclasses.is_dataclass(value) else value
        try:
            with self._lock:
                self._open().publish_event(self._service, event, payload)
        except Exception:
            log.exception("event %s could not be sent: %s", event, payload)
            return False
        return True

    def ping(self) -> Mapping[str, Any]:
        try:
            with contextlib.closing(Connection(self._uri, connect_timeout=CONNECT_LIMIT_S)) as connection:
                connection.connect()
                properties: Mapping[str, Any] = connection.connection.server_properties
                return properties
        except BROKER_ERRORS as error:
            raise Unreachable(f"the broker does not answer ({error})") from None

    def close(self) -> None:
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    def _open(self) -> RpcConnection:
        if self._channel is None or self._channel.is_lost:
            self._channel = RpcConnection(self._uri, self._name, self._alarm)
        return self._channel
