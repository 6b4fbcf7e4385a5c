"""One user at a real broker: calls as the CLI makes them, and calls that it would never make."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any
from urllib.parse import urlsplit

from amqp.exceptions import AccessRefused, PreconditionFailed
from kombu import Connection, Exchange, Queue

from walt.client import Call
from walt.contracts.broker_permissions import RPC_EXCHANGE

SERVED = "served"
NO_RIGHT = "no right at the broker"
FORGED = "not this user, says the broker"

RPC = Exchange(RPC_EXCHANGE, "topic", no_declare=True)
TIMEOUT_S = 15
_numbers = itertools.count()


class AmqpUser:
    """A connection in the name of the user of `uri`; it survives what the broker refuses."""

    def __init__(self, uri: str) -> None:
        self.name = urlsplit(uri).username or ""
        self.connection = Connection(uri)
        self.connection.connect()

    def call(self, key: str, *args: Any, **arguments: Any) -> Any:
        """The result of SERVICE.METHOD, or its error, decoded as the CLI decodes them."""
        call = Call(*key.split(".", 1))
        call.answer(self.reply(key, *args, user_id=self.name, **arguments))
        return call.result()

    def reply(
        self,
        key: str,
        *args: Any,
        user_id: str | None,
        headers: dict[str, Any] | None = None,
        wait_s: float = TIMEOUT_S,
        **arguments: Any,
    ) -> dict[str, Any]:
        """The reply to one call as nameko encodes it; the broker's refusal is raised. user_id: None is an unsigned
        call."""
        name = f"user.{self.name}.r{next(_numbers)}"
        replies: list[dict[str, Any]] = []
        with self.connection.channel() as channel:
            queue = Queue(name, RPC, name, exclusive=True)(channel)
            queue.declare()
            on_reply = [lambda body, _: replies.append(body)]
            with self.connection.Consumer(queue, channel=channel, callbacks=on_reply, no_ack=True):
                self.connection.Producer(channel).publish(
                    {"args": args, "kwargs": arguments},
                    exchange=RPC_EXCHANGE,
                    routing_key=key,
                    reply_to=name,
                    correlation_id="1",
                    headers=headers or {},
                    **({"user_id": user_id} if user_id else {}),
                )
                while not replies:
                    self.connection.drain_events(timeout=wait_s)
        return replies[0]

    def outcome(self, key: str, arguments: dict[str, Any], user_id: str | None) -> str:
        """SERVED, the name of the service's refusal, or what the broker said."""
        try:
            error = self.reply(key, user_id=user_id, **arguments)["error"]
        except AccessRefused:
            return NO_RIGHT
        except PreconditionFailed:
            return FORGED
        return str(error["exc_type"]) if error else SERVED

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.connection.release()
