"""A service of the test's own process: what it knows and what it received are attributes of one object."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from kombu import Connection
from nameko.containers import ServiceContainer
from nameko.events import event_handler
from nameko.rpc import rpc
from nameko.standalone.events import event_dispatcher, get_event_exchange

from services.kit.environment import account_of
from walt.contracts import serialization
from walt.contracts.errors import WaltError


def serves(method: Callable[..., Any]) -> Callable[..., Any]:
    """Marks an RPC method of a FakeService."""
    marked: Any = method
    marked.is_served = True
    return method


class FakeService:
    """A subclass sets `name`, marks its RPC methods by `serves`, and lists the events that it hears.

    fault: raised by every RPC while it is set.
    """

    name: str

    def __init__(self) -> None:
        self.fault: WaltError | None = None
        self.uri = ""

    def hears(self) -> list[tuple[str, str, Callable[[Any], None]]]:
        """(service, event, function of the payload) of each event."""
        return []

    def announce(self, event: str, value: Any, by: str = "") -> None:
        """by: the announcing service, when it is not this one."""
        service, config = (by or self.name).partition("@")[0], {"AMQP_URI": self.uri}  # without the host, as real ones
        declare = [get_event_exchange(service, config)]  # nobody may listen yet
        announce = event_dispatcher(config, declare=declare, user_id=account_of(self.uri))
        announce(service, event, serialization.dump(value))

    def _method(self, served: Callable[..., Any]) -> Any:
        @functools.wraps(served)
        def method(_worker: Any, *args: Any, **arguments: Any) -> Any:
            if self.fault:
                raise self.fault
            return served(*args, **arguments)

        return rpc(method)

    def _service_class(self) -> type:
        body: dict[str, Any] = {"name": self.name}
        for key in dir(type(self)):
            if getattr(getattr(type(self), key), "is_served", False):
                body[key] = self._method(getattr(self, key))
        for number, (service, event, take) in enumerate(self.hears()):

            def on_event(_worker: Any, payload: Any, take: Callable[[Any], None] = take) -> None:
                take(payload)

            on_event.__name__ = f"on_{event}_{number}"
            body[on_event.__name__] = event_handler(service, event)(on_event)
        return type(type(self).__name__, (), body)


@contextlib.contextmanager
def serving(uri: str, *fakes: FakeService) -> Iterator[None]:
    """The fakes answer at this broker."""
    containers = []
    try:
        for fake in fakes:
            fake.uri = uri
            _delete_internal_queue(uri, fake.name)
            containers.append(ServiceContainer(fake._service_class(), {"AMQP_URI": uri}))
            containers[-1].start()
        yield
    finally:
        for container in containers:
            container.stop()


def _delete_internal_queue(uri: str, service: str) -> None:
    """A real service of an earlier test has left it, durable. Calls of services go there as long as it exists; without
    it they reach the queue of the fake, which is that of users."""
    with Connection(uri) as connection:
        connection.channel().queue_delete(f"internal-{service}")
