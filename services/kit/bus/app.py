"""The application of a service: built once per process, started with the service, given to each call as `self.app`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nameko.containers import ServiceContainer
from nameko.extensions import DependencyProvider

from services.kit.bus.bus import Bus
from services.kit.bus.service_bus import ServiceBus
from services.kit.bus.shares import WATCHING
from services.kit.environment import NAMEKO_KEY, Environment

MAX_WORKERS = 150 + WATCHING  # more than all entry points may have together, each within bounds of its own


class AppProvider(DependencyProvider):
    """`app = AppProvider(NodesApp)`: NodesApp(env, bus) is called before the first request is served. Its methods
    `start()`, called once the service is about to serve, and `stop()` are optional."""

    service_bus = ServiceBus()

    def __init__(self, factory: Callable[[Environment, Bus], Any]) -> None:
        super().__init__()
        self._factory = factory

    def setup(self) -> None:
        self.service_bus.setup()  # nameko gives no order; doing it twice is harmless
        self.app = self._factory(self.container.config[NAMEKO_KEY], self.service_bus.bus)

    def start(self) -> None:
        if hasattr(self.app, "start"):
            self.app.start()

    def stop(self) -> None:
        if hasattr(self.app, "stop"):
            self.app.stop()

    def get_dependency(self, worker_ctx: Any) -> Any:
        return self.app


def configuration(env: Environment) -> dict[str, Any]:
    """nameko's, for one service process."""
    return {"AMQP_URI": env.amqp_uri, "HEARTBEAT": 20, "max_workers": MAX_WORKERS, NAMEKO_KEY: env}


def named(service: type, host: str) -> type:
    """The service class of an agent, whose name on the bus has its host: netemu@lab1."""
    return type(service.__name__, (service,), {"name": f"{service.name}@{host}"})  # type: ignore[attr-defined]


def container(service: type, env: Environment) -> ServiceContainer:
    """The service in this process, for `start()` and `stop()`; tests use it."""
    return ServiceContainer(service, configuration(env))
