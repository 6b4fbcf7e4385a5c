"""`python -m deploy.broker.public_methods`: the methods that users may call, as routing keys, one a line.

Derived from the service classes. nodes reads the list (WALT_PUBLIC_METHODS) when it makes accounts.
"""

from __future__ import annotations

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split
import importlib

from deploy.services import SERVICES
from services.kit.bus.entrypoints import public_methods
from walt.contracts.agent_names import AGENTS


def service_class(service: str) -> type:
    """The class that the process of this service runs; an agent's without its host."""
    module = importlib.import_module(f"services.{service}.service")
    (found,) = [one for one in vars(module).values() if isinstance(one, type) and getattr(one, "name", "") == service]
    return found


def routing_keys(service: str) -> list[str]:
    """'@*' stands for any host of an agent."""
    pattern = f"{service}@*" if service in AGENTS else service
    return [f"{pattern}.{method}" for method in public_methods(service_class(service))]


if __name__ == "__main__":
    print(*(key for service in SERVICES for key in routing_keys(service)), sep="\n")
