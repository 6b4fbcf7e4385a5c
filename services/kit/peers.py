"""Calls to and events for other services, from anywhere in a service process (workers and long-lived threads).

call("netemu@lab1", "attach_ports", node_id=3, …)       the reply; Unreachable, or the peer's own error
Announcer                                               dependency: `self.announce(EVENT, value)`
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from typing import Any, Protocol

from nameko.exceptions import RpcTimeout, UnknownService
from nameko.extensions import DependencyProvider
from nameko.standalone.events import event_dispatcher, get_event_exchange
from nameko.standalone.rpc import ServiceRpcProxy, SingleThreadedReplyListener

from services.contracts import wire
from services.contracts.errors import Failed, Unreachable, WaltError
from services.kit.environment import environment

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 15.0


class Announce(Protocol):
    def __call__(self, event: str, value: Any) -> None: ...


class _ReplyListener(SingleThreadedReplyListener):
    """Its queue goes with the call: nameko leaves each to the broker for five minutes."""

    def stop(self) -> None:
        with contextlib.suppress(Exception):  # the broker is away: then it expires
            self.queue_consumer.queue.delete(nowait=True)
        super().stop()


def call(service: str, method: str, *values: Any, timeout_s: float = DEFAULT_TIMEOUT_S, **arguments: Any) -> Any:
    """The peer's answer. Unreachable when it (or the broker) does not answer in time.

    The request expires with our patience: a peer that comes back later must not obey it.
    timeout_s is ours; a method with an argument of that name gets its arguments as values, in order.
    """
    config = {"AMQP_URI": environment().amqp_uri}
    try:
        with ServiceRpcProxy(service, config, timeout=timeout_s, reply_listener_cls=_ReplyListener) as proxy:
            request = getattr(proxy, method)
            request.publisher.expiration = timeout_s
            request.publisher.publish_kwargs["user_id"] = environment().account
            return request(*values, **arguments)
    except WaltError:
        raise
    except (RpcTimeout, UnknownService):
        raise Unreachable(f"{service} does not answer ({method}, {timeout_s:g} s)") from None
    except OSError as error:
        raise Unreachable(f"the broker does not answer ({error})") from None
    except Exception as error:
        raise Failed(f"{service}.{method}: {error}") from error


class Announcer(DependencyProvider):
    """`self.announce(EVENT, value)`: an event in the name of this service. A dataclass is dumped by `wire`.

    An event that cannot be sent is logged and dropped: whoever needs it reconciles with its owner.
    """

    def get_dependency(self, worker_ctx: Any) -> Announce:
        return self.announce

    def announce(self, event: str, value: Any) -> None:
        payload = wire.dump(value) if dataclasses.is_dataclass(value) else value
        service, config = self.container.service_name, self.container.config
        try:
            # Declared with each event: nobody may listen yet, and a new broker knows nothing.
            event_dispatcher(config, declare=[get_event_exchange(service, config)])(service, event, payload)
        except Exception:
            log.exception("event %s could not be sent: %s", event, payload)
