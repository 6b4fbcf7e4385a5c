"""`python -m deploy.public`: the methods that users may call, as routing keys, one a line.

Derived from the service classes. nodes reads the list (WALT_PUBLIC_METHODS) when it makes accounts.
"""

from __future__ import annotations

import services.kit.green  # noqa: F401  # first

# isort: split
import importlib

from services.contracts import bootserver, console, netemu, nodes, vmrunner
from services.kit.entrypoints import public_methods
from services.kit.environment import environment

SERVICES = (nodes.SERVICE, bootserver.SERVICE, vmrunner.SERVICE, netemu.SERVICE, console.SERVICE)


def service_class(service: str) -> type:
    """The class that the process of this service runs."""
    cls: type = importlib.import_module(f"services.{service}.__main__").load(environment())
    return cls


def routing_keys(service: str) -> list[str]:
    """'@*' stands for any host of an agent."""
    cls = service_class(service)
    name, at, _ = cls.name.partition("@")  # type: ignore[attr-defined]  # nameko's
    return [f"{name}{at and '@*'}.{method}" for method in public_methods(cls)]


if __name__ == "__main__":
    print(*(key for service in SERVICES for key in routing_keys(service)), sep="\n")
