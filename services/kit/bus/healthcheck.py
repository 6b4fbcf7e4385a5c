"""`python -m services.kit.bus.healthcheck SERVICE`: does this service work? Exit status 0 and silence, or 1 and the
reason.

Its metrics port answers, and it answers a call over AMQP. The call is of no method: every service answers that
one with an error of nameko's, so that it costs nothing and asks no other service. In a process of its own, at
short intervals: it imports neither nameko nor kombu.
"""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.request
import uuid
from typing import Any
from urllib.parse import unquote, urlsplit

from amqp import Connection, Message
from amqp.exceptions import AMQPError

from services.kit.environment import environment
from walt.contracts.agent_names import service_name
from walt.contracts.agent_rights import reply_prefix
from walt.contracts.broker_permissions import INTERNAL_EXCHANGE

LIMIT_S = 5.0
PING = "ping"  # no service has such a method


def main(service: str) -> None:
    env = environment()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{env.metrics_port}/metrics", timeout=LIMIT_S) as page:
            page.read()
        ping(env.amqp_uri, service_name(service, env.host))
    except (OSError, AMQPError) as error:
        raise SystemExit(f"{service} is not well: {error}") from None


def ping(uri: str, service: str) -> None:
    """Return when the service answers; else TimeoutError, or what py-amqp raises."""
    parts = urlsplit(uri)
    connection = Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        virtual_host=unquote(parts.path[1:]) or "/",
        connect_timeout=LIMIT_S,
    )
    connection.connect()
    with contextlib.closing(connection):
        _call(connection, f"{service}.{PING}", unquote(parts.username or ""))


def _call(connection: Any, routing_key: str, account: str) -> None:
    answers: list[Any] = []
    channel, queue = connection.channel(), f"{reply_prefix(routing_key.partition('.')[0])}{uuid.uuid4().hex}"
    channel.queue_declare(queue, exclusive=True, auto_delete=True)
    channel.basic_consume(queue, no_ack=True, callback=answers.append)
    channel.events["basic_return"].add(lambda *_: answers.append(None))  # nobody has such a queue
    request = Message(
        '{"args": [], "kwargs": {}}',
        content_type="application/json",
        content_encoding="utf-8",
        reply_to=queue,
        correlation_id=queue,
        user_id=account,
        expiration=str(round(LIMIT_S * 1000)),
    )
    channel.basic_publish(request, INTERNAL_EXCHANGE, routing_key, mandatory=True)
    end = time.monotonic() + LIMIT_S
    while not answers:
        connection.drain_events(timeout=max(end - time.monotonic(), 0.001))
    if answers[0] is None:
        raise ConnectionError("it has no queue at the broker")


if __name__ == "__main__":
    main(sys.argv[1])
