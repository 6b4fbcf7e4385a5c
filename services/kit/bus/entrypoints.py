"""What a service class consists of: RPC methods, events that it hears, timers, and its application.

    class ConsoleService:
        name = console.SERVICE
        app = AppProvider(ConsoleApp)
        caller = Caller()
        metrics = Metrics()

        @public
        def open_ping(self, node: str, queue: str, count: int = 10) -> Opened: …    users: `self.caller`
        @patient
        def wait_nodes(self, selection: NodeSet, seen: str) -> NodesSeen: …          users, who wait for something
        @internal
        def prepare_line(self, node_id: int) -> PreparedLine: …                     services only
        @for_agents
        def get_specs(self, host: str) -> Specs: …                  services, agents of further hosts: `self.caller`
        @on_event(nodes.SERVICE, nodes.NODE_REMOVED)
        def on_node_removed(self, removed: NodeRemoved) -> None: …
        @every(seconds=5)
        def repair(self) -> None: …
        @at_start
        def announce_all(self) -> None: …

Arguments are checked against the type hints and arrive as these types; results that are dataclasses leave as JSON
(`arguments`).

RabbitMQ refuses a message whose `user_id` is not the account of its connection, so the property, when there, is the
truth; a message without one is refused here.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

from kombu import compression
from kombu.exceptions import ContentDisallowed
from nameko.events import EventHandler
from nameko.exceptions import deserialize_to_instance
from nameko.extensions import ENTRYPOINT_EXTENSIONS_ATTR, DependencyProvider, Entrypoint, register_entrypoint
from nameko.messaging import QueueConsumer
from nameko.rpc import Rpc

from services.kit import tasks
from services.kit.bus.arguments import Signature, dump
from services.kit.bus.repetitions import CallId
from services.kit.bus.requests import ServiceRequests, UserRequests, call_id, user_of
from services.kit.bus.rpc_connection import exchange_of
from services.kit.environment import account_of
from walt.contracts.agent_rights import host_of, is_services, may_announce
from walt.contracts.broker_permissions import INTERNAL_EXCHANGE
from walt.contracts.errors import WIRE_ERRORS, Denied, WaltError

log = logging.getLogger(__name__)

CALLER = "walt_caller"
KEY = "walt_key"
EVENTS_AT_A_TIME = 10  # of one kind

for _error in WIRE_ERRORS.values():
    deserialize_to_instance(_error)


def _refuse_compressed(_: bytes) -> bytes:
    raise ContentDisallowed("a compressed message, which could be a thousand times as long as it looks")


for _encoding in compression.encoders():  # of messages, which nobody here compresses
    compression.register(None, _refuse_compressed, _encoding)


class InternalRpc(Rpc):
    """A method for other services. Users have no right to publish to it; but the broker checks that right only
    where a message comes in, not where a user's own exchange or queue passes it on."""

    is_patient = False

    rpc_consumer = UserRequests()
    internal_consumer = ServiceRequests()

    def __init__(self) -> None:
        super().__init__(expected_exceptions=WaltError)

    def setup(self) -> None:
        for consumer in (self.rpc_consumer, self.internal_consumer):
            consumer.register_provider(self)

    def stop(self) -> None:
        for consumer in (self.rpc_consumer, self.internal_consumer):
            consumer.unregister_provider(self)

    def handle_result(self, message: Any, worker_ctx: Any, result: Any, exc_info: Any) -> Any:
        return self._consumer_of(message).handle_result(message, result, exc_info)

    def _consumer_of(self, message: Any) -> ServiceRequests:
        is_internal = message.delivery_info["exchange"] == INTERNAL_EXCHANGE
        return self.internal_consumer if is_internal else self.rpc_consumer

    def handle_message(self, body: Any, message: Any) -> None:
        user = user_of(message)
        if fault := self.fault_of(user):
            raise Denied(f"{self.container.service_name}.{self.method_name}: {fault}")
        # Replaces all headers of the client: nameko takes `walt_caller` with its prefix and without.
        message.headers = {f"nameko.{CALLER}": self.caller_of(user), f"nameko.{KEY}": call_id(message).key}
        super().handle_message(body, message)

    def fault_of(self, user: str) -> str:
        """Why this user may not call; "" when he may."""
        return "" if is_services(user, account_of(self.container.config["AMQP_URI"])) else "for services only"

    def caller_of(self, user: str) -> str:
        return ""


class AgentRpc(InternalRpc):
    """A method that the agents of a further host may call too. It finds the name of that host in its `Caller`
    dependency, "" in a call of another service, and looks that it is asked for nothing of another host."""

    def fault_of(self, user: str) -> str:
        return "" if host_of(user) else super().fault_of(user)

    def caller_of(self, user: str) -> str:
        return host_of(user)


class PublicRpc(InternalRpc):
    """A method for users. It finds who calls in its `Caller` dependency."""

    def fault_of(self, user: str) -> str:
        if host_of(user):
            return "for users, and not for the agents of a host"
        return "" if user else "the message carries no user id"

    def caller_of(self, user: str) -> str:
        return user


class PatientRpc(PublicRpc):
    """A method for users that ends when something happens, after many seconds perhaps. When the service ends first, its
    requests go back to the broker, and to the next process."""

    is_patient = True

    def stop(self) -> None:
        super().stop()
        tasks.end_workers(self)


def public(method: Callable[..., Any]) -> Callable[..., Any]:
    return _typed(method, PublicRpc())


def patient(method: Callable[..., Any]) -> Callable[..., Any]:
    return _typed(method, PatientRpc())


def internal(method: Callable[..., Any]) -> Callable[..., Any]:
    return _typed(method, InternalRpc())


def for_agents(method: Callable[..., Any]) -> Callable[..., Any]:
    return _typed(method, AgentRpc())


def _typed(method: Callable[..., Any], entrypoint: Rpc) -> Callable[..., Any]:
    signature = Signature(method)

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        return dump(method(self, **signature.load(args, kwargs)))

    register_entrypoint(checked, entrypoint)
    return checked


class Caller(DependencyProvider):
    """`self.caller`: the broker's name for the user of this call, or the further host whose agent it is ('' in a call
    from a service)."""

    def get_dependency(self, worker_ctx: Any) -> str:
        return str(worker_ctx.data.get(CALLER, ""))


class IdOfCall(DependencyProvider):
    """`self.call`: a `CallId`, for commands that are done once, however often they come."""

    def get_dependency(self, worker_ctx: Any) -> CallId:
        return CallId(str(worker_ctx.data.get(CALLER, "")), str(worker_ctx.data.get(KEY, "")))


class _EventQueue(QueueConsumer):
    prefetch_count = EVENTS_AT_A_TIME


class _Event(EventHandler):
    """Heard from who may announce it: services, and of its own host an agent of a further one."""

    queue_consumer = _EventQueue()

    def setup(self) -> None:
        super().setup()
        self._account = account_of(self.container.config["AMQP_URI"])
        self.queue.exchange = exchange_of(self._account, self.queue.exchange.name)

    def handle_message(self, body: Any, message: Any) -> None:
        user, host = user_of(message), body.get("host") if isinstance(body, dict) else None
        if may_announce(user, self._account, self.source_service, host):
            super().handle_message(body, message)
            return
        log.warning("%s of %s is ignored: %s announced it", self.event_type, self.source_service, user or "nobody")
        self.queue_consumer.ack_message(message)


def on_event(service: str, event: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The method hears this event of this service, on whichever host; it may hear several. Its one parameter is the
    dataclass of the event."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        hear = method if hasattr(method, ENTRYPOINT_EXTENSIONS_ATTR) else _hearing(method)
        register_entrypoint(hear, _Event(service, event, expected_exceptions=WaltError))
        return hear

    return decorate


def _hearing(method: Callable[..., Any]) -> Callable[..., Any]:
    signature = Signature(method)

    @functools.wraps(method)
    def hear(self: Any, payload: Any) -> None:
        method(self, **signature.load([payload], {}))

    return hear


class _Timer(Entrypoint):
    """Fires by the monotonic clock, so that a step of the wall clock neither stops nor repeats it; a failure ends
    nothing."""

    def __init__(self, seconds: float, once: bool = False, at_once: bool = False) -> None:
        super().__init__(expected_exceptions=WaltError)
        self._seconds, self._once, self._at_once = seconds, once, at_once
        self._stopped = tasks.Signal()

    def start(self) -> None:
        self.container.spawn_managed_thread(self._run)

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        if not self._at_once and self._stopped.wait(self._seconds):
            return
        while True:
            tasks.run_worker(self)
            if self._once or self._stopped.wait(self._seconds):
                return


def every(seconds: float, *, at_once: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The method runs again so many seconds after it has ended; the first time so long after the start, or at once."""
    return lambda method: register_entrypoint(method, _Timer(seconds, at_once=at_once)) or method


def at_start(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method runs once, when the service starts."""
    register_entrypoint(method, _Timer(0, once=True, at_once=True))
    return method


def public_methods(service: type) -> list[str]:
    """['create_nodes', …]: the methods of a service class that users may call, for the broker's permissions."""
    return sorted(name for name, method in inspect.getmembers(service, inspect.isfunction) if _is_public(method))


def _is_public(method: Callable[..., Any]) -> bool:
    return any(isinstance(entrypoint, PublicRpc) for entrypoint in getattr(method, "nameko_entrypoints", ()))
