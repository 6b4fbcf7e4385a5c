"""Removal of queues, exchanges and bindings of others at the broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kombu import Connection

from services.kit.bus.rpc_connection import BROKER_ERRORS, CONNECT_LIMIT_S
from walt.contracts.errors import Unreachable


def remove(
    amqp_uri: str,
    queues: Iterable[str],
    exchanges: Iterable[str],
    bindings: Iterable[tuple[str, str, str, Mapping[str, Any]]],
) -> None:
    """bindings: (destination, source, key, arguments) of exchanges. What is gone already is no error."""
    try:
        with Connection(amqp_uri, connect_timeout=CONNECT_LIMIT_S) as connection:
            channel = connection.channel()
            for destination, source, key, arguments in bindings:
                channel.exchange_unbind(destination, source, key, arguments=dict(arguments))
            for name in exchanges:
                channel.exchange_delete(name)
            for name in queues:
                channel.queue_delete(name)
    except BROKER_ERRORS as error:
        raise Unreachable(f"the broker does not answer ({error})") from None
