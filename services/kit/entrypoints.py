"""RPC entry points: `internal` for services, `public` for users, whose name the broker vouches for.

RabbitMQ refuses a message whose `user_id` is not the account of its connection, so the property, when there,
is the truth; a message without one is refused here (FIELD-NOTES, "Identity by the broker").
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from kombu import compression
from kombu.exceptions import ContentDisallowed
from nameko.exceptions import deserialize_to_instance
from nameko.extensions import DependencyProvider
from nameko.rpc import Rpc, RpcConsumer

from services.contracts.errors import WIRE_ERRORS, Denied, WaltError
from services.kit.environment import environment

CALLER = "walt_caller"
JSON = "application/json"

log = logging.getLogger(__name__)

for _error in WIRE_ERRORS.values():
    deserialize_to_instance(_error)


def _refuse_compressed(_: bytes) -> bytes:
    raise ContentDisallowed("a compressed message, which could be a thousand times as long as it looks")


for _encoding in compression.encoders():  # of messages, which nobody here compresses
    compression.register(None, _refuse_compressed, _encoding)


class _Calls(RpcConsumer):
    """The queue of a service. A message whose reply cannot be sent, or would not go to its sender's own queue, is dropped: an
    error while it is sent ends the service, which gets the message again when it is back; and a reply to the name of
    a method is a call in our name."""

    def handle_message(self, body: Any, message: Any) -> None:
        if _is_answerable(message):
            super().handle_message(body, message)
            return
        log.warning("a message of %s that cannot be answered is dropped", _user_of(message) or "nobody")
        self.queue_consumer.ack_message(message)


def _is_answerable(message: Any) -> bool:
    user = _user_of(message)
    own = "" if user == environment().account else f"user.{user}." if user else "user."
    reply_to = message.properties.get("reply_to")
    return reply_to is not None and reply_to.startswith(own) and message.properties.get("content_type") == JSON


def _user_of(message: Any) -> str:
    return str(message.properties.get("user_id", ""))


class InternalRpc(Rpc):
    """An entry point for other services. Users have no right to publish to it; but the broker asks for that right only
    where a message comes in, not where an exchange or a queue of a user's own hands it on."""

    rpc_consumer = _Calls()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("expected_exceptions", WaltError)
        super().__init__(*args, **kwargs)

    def handle_message(self, body: Any, message: Any) -> None:
        user = _user_of(message)
        if fault := self.fault_of(user):
            error = Denied(f"{self.container.service_name}.{self.method_name}: {fault}")
            self.rpc_consumer.handle_result(message, None, (Denied, error, None))
        else:
            # All that the client has put there goes: nameko takes `walt_caller` with its prefix and without.
            message.headers = {f"nameko.{CALLER}": self.caller_of(user)}
            super().handle_message(body, message)

    def fault_of(self, user: str) -> str:
        """Why not this user; "" when he may."""
        return "" if user == environment().account else "for services only"

    def caller_of(self, user: str) -> str:
        return ""


class PublicRpc(InternalRpc):
    """An entry point for users. The method finds who calls in its `Caller` dependency."""

    def fault_of(self, user: str) -> str:
        return "" if user else "the message carries no user id"

    def caller_of(self, user: str) -> str:
        return user


internal = InternalRpc.decorator
public = PublicRpc.decorator


class Caller(DependencyProvider):
    """`self.caller`: the broker's name for the user of this call ('' in a call from a service)."""

    def get_dependency(self, worker_ctx: Any) -> str:
        return str(worker_ctx.data.get(CALLER, ""))


def public_methods(service: type) -> list[str]:
    """['create_nodes', …]: the methods of a service class that users may call, for the broker's permissions."""
    return sorted(name for name, method in inspect.getmembers(service, inspect.isfunction) if _is_public(method))


def _is_public(method: Callable[..., Any]) -> bool:
    return any(isinstance(entrypoint, PublicRpc) for entrypoint in getattr(method, "nameko_entrypoints", ()))
