"""`python -m deploy.public`: the methods that users may call, as routing keys, one a line.

Derived from the service classes. nodes reads the list (WALT_PUBLIC_METHODS) when it makes accounts.
"""

from __future__ import annotations

import services.kit.green  # noqa: F401  # first

# isort: split
import importlib
import inspect
from types import ModuleType

from services.contracts import bootserver, console, netemu, nodes, vmrunner
from services.kit.entrypoints import public_methods

CONTRACTS = (nodes, bootserver, vmrunner, netemu, console)


def routing_keys(contract: ModuleType) -> list[str]:
    """Those of one service; '@*' stands for any host of an agent."""
    name = contract.SERVICE + ("@*" if hasattr(contract, "service_on") else "")
    module = importlib.import_module(f"services.{contract.SERVICE}.service")
    classes = [one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == module.__name__]
    return [f"{name}.{method}" for one in classes for method in public_methods(one)]


if __name__ == "__main__":
    for one in CONTRACTS:
        print(*routing_keys(one), sep="\n")
