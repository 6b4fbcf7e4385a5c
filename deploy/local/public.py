"""`python -m deploy.local.public`: the methods that users may call, as routing keys, one a line."""

from __future__ import annotations

import services.kit.green  # noqa: F401  # first

# isort: split
import importlib
import inspect

from deploy.local.programs import SERVICES, service_name
from services.kit.entrypoints import public_methods


def routing_keys(service: str) -> list[str]:
    module = importlib.import_module(f"services.{service}.service")
    classes = [one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == module.__name__]
    return [f"{service_name(service, '*')}.{method}" for one in classes for method in public_methods(one)]


if __name__ == "__main__":
    for name in SERVICES:
        print(*routing_keys(name), sep="\n")
