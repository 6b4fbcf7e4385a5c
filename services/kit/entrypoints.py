"""RPC entry points: `internal` for services, `public` for users, whose name the broker vouches for.

RabbitMQ refuses a message whose `user_id` is not the account of its connection, so the property, when there,
is the truth; a message without one is refused here (FIELD-NOTES, "Identity by the broker").
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from nameko.exceptions import deserialize_to_instance
from nameko.extensions import DependencyProvider
from nameko.rpc import Rpc

from services.contracts.errors import WIRE_ERRORS, Denied, WaltError
from services.kit.environment import environment

CALLER = "walt_caller"
JSON = "application/json"

log = logging.getLogger(__name__)

for _error in WIRE_ERRORS.values():
    deserialize_to_instance(_error)


class InternalRpc(Rpc):
    """An entry point for other services. Users have no right to publish to it; but the broker asks for that right only
    where a message comes in, not where an exchange or a queue of a user's own hands it on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("expected_exceptions", WaltError)
        super().__init__(*args, **kwargs)

    def handle_message(self, body: Any, message: Any) -> None:
        user = str(message.properties.get("user_id", ""))
        if not _is_answerable(message, user):
            log.warning("%s: a message of %s that cannot be answered is dropped", self.method_name, user or "nobody")
            self.rpc_consumer.queue_consumer.ack_message(message)
        elif fault := self.fault_of(user):
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


def _is_answerable(message: Any, user: str) -> bool:
    """Whether its reply can be sent, and goes to the user's own queue. An error while it is sent ends the service, which
    gets the message again when it is back; and a reply that names a method as its queue is a call in our name."""
    if message.properties.get("content_type") != JSON:
        return False
    own = "" if user == environment().account else f"user.{user}." if user else "user."
    return str(message.properties.get("reply_to", "")).startswith(own)


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
