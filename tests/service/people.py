"""People at a real broker: one connection each, on which anything is tried, and what came of it."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from amqp.exceptions import AccessRefused, PreconditionFailed
from kombu import Connection, Exchange, Queue

SERVED = "served"
NO_RIGHT = "no right at the broker"
FORGED = "not this user, says the broker"

RPC = Exchange("nameko-rpc", "topic", no_declare=True)
_numbers = itertools.count()


class Person:
    def __init__(self, uri: str, name: str) -> None:
        self.name = name
        self.connection = Connection(uri)
        self.connection.connect()

    def answer(self, key: str, arguments: dict[str, Any], user_id: str | None) -> dict[str, Any]:
        """The reply to one call, as nameko makes it; or the broker's refusal, raised."""
        name = f"user.{self.name}.{next(_numbers)}"
        replies: list[dict[str, Any]] = []
        with self.connection.channel() as channel:
            queue = Queue(name, RPC, name, exclusive=True)(channel)
            queue.declare()
            with self.connection.Consumer(
                queue, channel=channel, callbacks=[lambda body, _: replies.append(body)], no_ack=True
            ):
                self.connection.Producer(channel).publish(
                    {"args": [], "kwargs": arguments},
                    exchange="nameko-rpc",
                    routing_key=key,
                    reply_to=name,
                    correlation_id="1",
                    **({"user_id": user_id} if user_id else {}),
                )
                while not replies:
                    self.connection.drain_events(timeout=15)
        return replies[0]

    def outcome(self, key: str, arguments: dict[str, Any], user_id: str | None) -> str:
        """SERVED, the name of the service's refusal, or what the broker said."""
        try:
            error = self.answer(key, arguments, user_id)["error"]
        except AccessRefused:
            return NO_RIGHT
        except PreconditionFailed:
            return FORGED
        return str(error["exc_type"]) if error else SERVED

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.connection.release()
