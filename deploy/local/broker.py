"""The configuration of a private RabbitMQ: pure texts, and the environment its programs run in.

Accounts come from a definitions file that the broker loads at each start: no call of rabbitmqctl is needed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.contracts.rights import Rights

# Not /usr/sbin/rabbitmq-server: Debian's wrapper drops the environment and switches user by itself.
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"


ERLANG_ARGUMENTS = (
    *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+S", "2:2"),
    *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
)


USER_QUEUE_BYTES = 2 * 2**20
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")  # accounts are made by nodes; metrics are for Prometheus
ADMINISTRATOR = "administrator"  # tag of an account that may make accounts through the management API


@dataclass(frozen=True)
class Account:
    user: str
    password: str
    rights: Rights
    tags: str = ""


@dataclass(frozen=True)
class BrokerPlace:
    """Where one private broker lives. All its ports are its own: it never meets another broker of the host."""

    folder: Path
    listen: tuple[str, ...]  # addresses; the last is where metrics are served too
    port: int = 5672
    management_port: int = 15672  # on 127.0.0.1 only
    metrics_port: int = 15692
    epmd_port: int = 4369
    distribution_port: int = 25672
    name: str = "walt"

    @property
    def definitions(self) -> Path:
        return self.folder / "definitions.json"


def configuration(place: BrokerPlace) -> str:
    """rabbitmq.conf."""
    listeners = [f"listeners.tcp.{i} = {address}:{place.port}" for i, address in enumerate(place.listen, 1)]
    return "\n".join(
        [
            *listeners,
            f"load_definitions = {place.definitions}",
            "management.tcp.ip = 127.0.0.1",
            f"management.tcp.port = {place.management_port}",
            "management.rates_mode = none",
            f"prometheus.tcp.ip = {place.listen[-1]}",
            f"prometheus.tcp.port = {place.metrics_port}",
            "loopback_users = none",
            "log.console = true",
            "log.console.level = warning",
            "log.file = false",
            "vm_memory_high_watermark.absolute = 512MiB",
            "disk_free_limit.absolute = 50MB",
            "",
        ]
    )


def enabled_plugins() -> str:
    return f"[{','.join(PLUGINS)}].\n"


def environment(place: BrokerPlace) -> dict[str, str]:
    """For rabbitmq-server, epmd and rabbitmqctl.

    The Erlang schedulers must not spin while idle (+sbwt none). "Under systemd" the start script becomes the
    server, instead of a shell that waits for it and would leave it behind when killed.
    """
    return {
        "HOME": str(place.folder),
        "RABBITMQ_NODENAME": f"{place.name}@localhost",
        "RABBITMQ_CONFIG_FILE": str(place.folder / "rabbitmq"),
        "RABBITMQ_MNESIA_BASE": str(place.folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(place.folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(place.folder / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(place.distribution_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(ERLANG_ARGUMENTS),
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_PORT": str(place.epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
    }


def definitions(accounts: Sequence[Account], vhosts: Sequence[str] = ("/",)) -> str:
    """definitions.json: every account with its rights, on every vhost."""
    places = [(vhost, account) for vhost in vhosts for account in accounts]
    return json.dumps(
        {
            "vhosts": [{"name": vhost} for vhost in vhosts],
            "users": [_user(account) for account in accounts],
            "permissions": [_permission(vhost, account) for vhost, account in places],
            "topic_permissions": [right for vhost, account in places for right in _topics(vhost, account)],
            "policies": [_bounded_user_queues(vhost) for vhost in vhosts],
            "exchanges": [_exchange(vhost, name) for vhost in vhosts for name in ("nameko-rpc", "walt-console")],
        },
        indent=1,
    )


def write(place: BrokerPlace, accounts: Sequence[Account], vhosts: Sequence[str] = ("/",)) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    for folder in ("mnesia", "log"):
        (place.folder / folder).mkdir(exist_ok=True)
    (place.folder / "rabbitmq.conf").write_text(configuration(place))
    (place.folder / "enabled_plugins").write_text(enabled_plugins())
    handle = os.open(place.definitions, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(definitions(accounts, vhosts))


def _bounded_user_queues(vhost: str) -> dict[str, Any]:
    """A user that does not read what it asked for makes the sender wait: the broker takes no more for it."""
    return {
        "vhost": vhost,
        "name": "bounded-user-queues",
        "pattern": r"^user\.",
        "apply-to": "queues",
        "definition": {"max-length-bytes": USER_QUEUE_BYTES, "overflow": "reject-publish"},
        "priority": 0,
    }


def _exchange(vhost: str, name: str) -> dict[str, Any]:
    # Users may not declare exchanges, and may call before the first service has.
    return {
        "name": name,
        "vhost": vhost,
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _user(account: Account) -> Mapping[str, Any]:
    salt = os.urandom(4)
    digest = hashlib.sha256(salt + account.password.encode()).digest()
    return {
        "name": account.user,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": account.tags,
    }


def _permission(vhost: str, account: Account) -> Mapping[str, Any]:
    rights = account.rights
    return {
        "user": account.user,
        "vhost": vhost,
        "configure": rights.configure,
        "write": rights.write,
        "read": rights.read,
    }


def _topics(vhost: str, account: Account) -> list[Mapping[str, Any]]:
    return [
        {"user": account.user, "vhost": vhost, "exchange": t.exchange, "write": t.write, "read": t.read}
        for t in account.rights.topics
    ]
