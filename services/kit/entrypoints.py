"""RPC entry points: `internal` for services, `public` for users, whose name the broker vouches for.

RabbitMQ refuses a message whose `user_id` is not the account of its connection, so the property, when there,
is the truth; a message without one is refused here (FIELD-NOTES, "Identity by the broker").
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from nameko.exceptions import deserialize_to_instance
from nameko.extensions import DependencyProvider
from nameko.rpc import Rpc

from services.contracts.errors import WIRE_ERRORS, Denied, WaltError

CALLER = "walt_caller"

for _error in WIRE_ERRORS.values():
    deserialize_to_instance(_error)


class InternalRpc(Rpc):
    """An entry point for other services: users have no right to publish to it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("expected_exceptions", WaltError)
        super().__init__(*args, **kwargs)


class PublicRpc(InternalRpc):
    """An entry point for users. The method finds who calls in its `Caller` dependency."""

    def handle_message(self, body: Any, message: Any) -> None:
        user = message.properties.get("user_id")
        if not user:
            self._refuse(message)
            return
        message.headers[f"nameko.{CALLER}"] = user  # overwrites whatever the client put there
        super().handle_message(body, message)

    def _refuse(self, message: Any) -> None:
        error = Denied(f"{self.container.service_name}.{self.method_name}: the message carries no user id")
        self.rpc_consumer.handle_result(message, None, (Denied, error, None))


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
