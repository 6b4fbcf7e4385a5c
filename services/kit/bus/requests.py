"""The two request queues of a service, each with a connection and workers of its own, so that neither delays the other.

    rpc-NAME        what users call. Few requests of one user run at a time, users take turns, and what is too much is
                    refused (`Shares`). A service of the version before sends its calls here too.
    internal-NAME   what services call, by an exchange for which users have no right

A request is dropped where nobody waits for it any more: it has waited here until it expired, or the broker took it late
(after an alarm) from a caller who has gone, whose queue for the reply is gone with him.

A request that comes again, from the broker or from its caller, is obeyed once, and answered each time (`Repetitions`).

Calls of patient methods, which wait for something to happen, have shares of their own: who waits takes no turn from
others.

A user of whom many requests are refused is told so a number of times; a flood of them ends his connections
(`suspend_user` of nodes), as the queue is the same for all users.
"""

from __future__ import annotations

import contextlib
import logging
import time
from functools import partial
from typing import Any

from kombu import Queue
from kombu.serialization import dumps
from nameko.exceptions import UnserializableValueError, serialize
from nameko.messaging import QueueConsumer
from nameko.rpc import RpcConsumer

from services.kit import tasks
from services.kit.bus.repetitions import CallId, Repetitions, call_id_of
from services.kit.bus.rpc_connection import exchange_of, internal_exchange
from services.kit.bus.service_bus import ServiceBus
from services.kit.bus.shares import FLOOD, REFUSALS_S, WATCHING, WATCHING_OF_ONE_USER, Refusals, Shares
from services.kit.bus.streams import ConnectionLost, QueueFull, QueueGone, StreamPublisher
from services.kit.environment import account_of
from walt.contracts import nodes
from walt.contracts.agent_rights import host_of, is_services, may_be_answered
from walt.contracts.broker_permissions import MAX_REQUEST_BYTES, RPC_EXCHANGE
from walt.contracts.errors import Failed, InvalidRequest, WaltError

JSON = "application/json"
USER_CALLS = 12  # at a time, of all users
CALLS_OF_ONE_USER = 4
WAITING_OF_ONE_USER = 20
WAITING_BYTES_OF_ONE_USER = 2 * MAX_REQUEST_BYTES
USER_PREFETCH = 600 + WATCHING
PATIENT_CALLS = USER_CALLS + WATCHING
SERVICE_CALLS = 40
SETTLE_S = 0.3  # in which the broker removes the queues of a connection that it has found closed

log = logging.getLogger(__name__)


def user_of(message: Any) -> str:
    return str(message.properties.get("user_id", ""))


def call_id(message: Any) -> CallId:
    routing_key = message.delivery_info["routing_key"]
    return call_id_of(user_of(message), message.properties, routing_key, message.body)


class _Waiting:
    def __init__(self, message: Any) -> None:
        self.message, self._since = message, time.monotonic()

    def is_expired(self) -> bool:
        """By the caller's own limit, which the broker has applied to the time in its queue only."""
        limit_ms = self.message.properties.get("expiration")
        return bool(limit_ms) and (time.monotonic() - self._since) * 1000 >= float(limit_ms)


class _RawConsumer(QueueConsumer):
    """Its providers get messages as they came, to look at their size before they are decoded. A type of its own for
    each queue: nameko gives a connection to each type."""

    prefetch_count = SERVICE_CALLS

    def get_consumers(self, consumer_cls: Any, channel: Any) -> Any:
        for provider in self._providers:
            taking = partial(self.handle_message, provider, None)
            consumer = consumer_cls(queues=[provider.queue], on_message=taking, accept=self.accept)
            consumer.qos(prefetch_count=self.prefetch_count)
            self._consumers[provider] = consumer
        return self._consumers.values()


class _UserQueue(_RawConsumer):
    prefetch_count = USER_PREFETCH


class _ServiceQueue(_RawConsumer):
    pass


class ServiceRequests(RpcConsumer):
    """internal-NAME. It drops a request that cannot be answered. reply_to must be the caller's own queue."""

    queue_consumer = _ServiceQueue()
    service_bus = ServiceBus()

    def setup(self) -> None:
        self.service_bus.setup()  # nameko gives no order; doing it twice is harmless
        if not hasattr(self, "_publisher"):
            self._account = account_of(self.container.config["AMQP_URI"])
            self._publisher = StreamPublisher(self.container.config["AMQP_URI"])
            self._refusals = Refusals()
            self._repetitions: Repetitions[Any] = Repetitions()
            self.queue = self._queue(self.container.service_name)
            self.queue_consumer.register_provider(self)

    def _queue(self, service: str) -> Queue:
        return Queue(f"internal-{service}", internal_exchange(self._account), f"{service}.*", durable=True)

    def handle_message(self, _: Any, message: Any) -> None:
        if not self._is_answerable(message):
            if self._refused(user_of(message)) == 1:
                log.warning("requests of %s that cannot be answered are dropped", user_of(message) or "nobody")
        elif self._is_given_up(message):
            log.warning("a request of %s is dropped: nobody waits for its reply", user_of(message))
        else:
            self._decode(message)
            return
        self.queue_consumer.ack_message(message)

    def _decode(self, message: Any) -> None:
        this = call_id(message)
        if (reply := self._repetitions.reply(this)) is not None:
            self._finish(message, reply)
            return
        if not self._repetitions.begins(this, message):
            return
        try:
            self.take(message.decode(), message)
        except Exception as error:
            self.refuse(message, error)

    def take(self, body: Any, message: Any) -> None:
        """A request that may be obeyed."""
        self.get_provider_for_method(message.delivery_info["routing_key"]).handle_message(body, message)

    def _refused(self, user: str) -> int:
        """How many requests of the user were refused lately, with this one."""
        count = self._refusals.count(user, time.monotonic())
        if count == FLOOD and user != self._account and not host_of(user) and not host_of(self._account):
            tasks.spawn(self._suspend, user)
        return count

    def _suspend(self, user: str) -> None:
        reason = f"{self.container.service_name} refused {FLOOD} requests of {user or 'nobody'} within {REFUSALS_S:g} s"
        log.warning("%s", reason)
        with contextlib.suppress(WaltError):  # he goes on, and is counted again
            self.service_bus.bus.call(nodes.SERVICE, "suspend_user", name=user, reason=reason)

    def refuse(self, message: Any, error: Exception) -> None:
        self.handle_result(message, None, (type(error), error, None))

    def handle_result(self, message: Any, result: Any, exc_info: Any) -> Any:
        try:
            dumps(result, "json")
        except Exception as error:
            result, exc_info = None, (type(error), UnserializableValueError(result), None)
        fault = None if exc_info is None else serialize(exc_info[1])
        _, _, reply = dumps({"result": result, "error": fault}, "json")
        for one in self._repetitions.end(call_id(message), message, reply):
            self._finish(one, reply)
        return result, exc_info

    def _finish(self, message: Any, reply: str) -> None:
        self._reply(message, reply)
        self.queue_consumer.ack_message(message)

    def _reply(self, message: Any, reply: str) -> None:
        """To the caller's queue and nowhere else. A caller who is gone, or does not read, changes nothing here."""
        properties = message.properties
        usual = {"content_type": JSON, "content_encoding": "utf-8"}
        usual |= {"correlation_id": properties.get("correlation_id") or ""}
        for may_repeat in (True, False):
            try:
                self._publisher.publish(properties["reply_to"], reply.encode(), {}, **usual)
            except ConnectionLost as error:  # perhaps long ago
                if may_repeat:
                    continue
                log.warning("no reply to %s: %s", user_of(message), error)
            except (QueueGone, QueueFull) as error:
                log.info("no reply to %s: %s: %s", user_of(message), type(error).__name__, error)
            return

    def _is_answerable(self, message: Any) -> bool:
        reply_to, content_type = (message.properties.get(name) for name in ("reply_to", "content_type"))
        if reply_to is None or content_type != JSON:
            return False
        return may_be_answered(user_of(message), self._account, reply_to)

    def _is_given_up(self, message: Any) -> bool:
        """Nothing can be answered in an alarm; what is read after one was perhaps sent long before."""
        bus = self.service_bus.bus
        if bus.is_blocked:
            return True
        if not bus.was_blocked_lately:
            return False
        tasks.sleep(SETTLE_S)
        return not bus.has_queue(message.properties["reply_to"])


class UserRequests(ServiceRequests):
    """rpc-NAME."""

    queue_consumer = _UserQueue()

    def __init__(self) -> None:
        super().__init__()
        limits = (USER_CALLS, CALLS_OF_ONE_USER, WAITING_OF_ONE_USER, WAITING_BYTES_OF_ONE_USER)
        self._shares: Shares[_Waiting] = Shares(*limits)
        each = CALLS_OF_ONE_USER + WATCHING_OF_ONE_USER  # beside those that wait there is room for some that need not
        self._patient: Shares[_Waiting] = Shares(PATIENT_CALLS, each, *limits[2:])
        self._running: set[Any] = set()  # messages of users
        self._is_ending = False

    def _queue(self, service: str) -> Queue:
        return Queue(f"rpc-{service}", exchange_of(self._account, RPC_EXCHANGE), f"{service}.*", durable=True)

    def _decode(self, message: Any) -> None:
        user = user_of(message)
        if is_services(user, self._account):
            super()._decode(message)
        elif (size := len(message.body)) > MAX_REQUEST_BYTES:
            fault = f"the request has {size} bytes; allowed: {MAX_REQUEST_BYTES}"
            self._refuse_counted(message, InvalidRequest(fault))
        elif (shares := self._shares_of(message)).offer(user, _Waiting(message), size):
            self._run_next(shares)
        else:
            fault = f"{self.container.service_name} is busy with other calls of {user}; try later"
            self._refuse_counted(message, Failed(fault))

    def _refuse_counted(self, message: Any, error: Exception) -> None:
        if self._refused(user_of(message)) <= FLOOD:
            self.refuse(message, error)
        else:
            self.queue_consumer.ack_message(message)

    def unregister_provider(self, provider: Any) -> None:
        self._is_ending = True  # what waits goes back to the broker
        super().unregister_provider(provider)

    def _shares_of(self, message: Any) -> Shares[_Waiting]:
        method = message.delivery_info["routing_key"].partition(".")[2]
        is_patient = any(one.is_patient and one.method_name == method for one in self._providers)
        return self._patient if is_patient else self._shares

    def _run_next(self, shares: Shares[_Waiting]) -> None:
        while not self._is_ending and (waiting := shares.next()) is not None:
            message = waiting.message
            self._running.add(message)
            if waiting.is_expired():
                self.queue_consumer.ack_message(message)
                self._end(message)
            else:
                super()._decode(message)

    def _finish(self, message: Any, reply: str) -> None:
        try:
            super()._finish(message, reply)
        finally:
            self._end(message)
            self._run_next(self._shares_of(message))

    def _end(self, message: Any) -> None:
        if message in self._running:
            self._running.remove(message)
            self._shares_of(message).done(user_of(message))
