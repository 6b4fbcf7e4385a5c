"""Host agents carry their host in their AMQP name: `vmrunner@lab1`. Central services do not."""

from __future__ import annotations

import re

from walt.contracts.errors import InvalidRequest

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


AGENTS = ("vmrunner", "netemu", "console")
HOST_RULE = "lower-case letters, digits and '-', neither first nor last '-', at most 63 characters"


def check_host(name: str) -> str:
    if not _HOST.fullmatch(name):
        raise InvalidRequest(f"'{name}' is not the name of a host; allowed: {HOST_RULE}")
    return name


def on_host(service: str, host: str) -> str:
    """'vmrunner', 'lab1' -> 'vmrunner@lab1'. A dot would split the routing key, so a host is one label."""
    if not _HOST.fullmatch(host):
        raise ValueError(f"'{host}' is not a host label: lower-case letters, digits and '-'")
    return f"{service}@{host}"


def service_name(service: str, host: str) -> str:
    """The name on the bus of the service that serves this host: an agent's has the host in it."""
    return on_host(service, host) if service in AGENTS else service
