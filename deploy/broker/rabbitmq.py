"""The configuration of RabbitMQ: the texts of its files, and the environment that the programs of a private one run in.

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

from deploy.services import BROKER, BROKER_PORT, MANAGEMENT_PORT, METRICS_PORTS
from walt.contracts.agent_rights import ANNOUNCED, HEARD
from walt.contracts.broker_permissions import INTERNAL_EXCHANGE, RPC_EXCHANGE, Rights
from walt.contracts.console import INPUT_EXCHANGE

# Not /usr/sbin/rabbitmq-server: Debian's wrapper drops the environment and switches user by itself.
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"

COMMON = Path(__file__).with_name("rabbitmq.conf")

ERLANG_ARGUMENTS = (
    *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+S", "2:2"),
    *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
)


USER_QUEUE_BYTES = 2 * 2**20
QUEUE_BYTES = 64 * 2**20  # of a queue of calls or events
QUEUE_MESSAGES = 10_000  # of each queue
MAX_QUEUES = 10_000  # of all; nodes takes from a user what is above his share (services/nodes/users/broker_use.py)
EXCHANGES: Mapping[str, Mapping[str, str]] = {  # with their arguments
    RPC_EXCHANGE: {},
    INPUT_EXCHANGE: {},
    INTERNAL_EXCHANGE: {"alternate-exchange": RPC_EXCHANGE},
    **{f"{service}.events": {} for service in (*HEARD, *ANNOUNCED)},
}
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")  # accounts are made by nodes; metrics are for Prometheus
ADMINISTRATOR = "administrator"  # tag of an account that may make accounts through the management API


@dataclass(frozen=True)
class RabbitmqUser:
    user: str
    password: str
    rights: Rights
    tags: str = ""


@dataclass(frozen=True)
class BrokerSettings:
    """Of one private broker. All ports are its own, so that it never meets another broker of the host."""

    folder: Path
    listen: tuple[str, ...]  # addresses; the last is where metrics are served too
    port: int = BROKER_PORT
    management_port: int = MANAGEMENT_PORT  # on 127.0.0.1 only
    metrics_port: int = METRICS_PORTS[BROKER]
    epmd_port: int = 4369
    distribution_port: int = 25672
    name: str = "walt"

    @property
    def definitions(self) -> Path:
        return self.folder / "definitions.json"


def configuration(*own: str) -> str:
    """rabbitmq.conf: what every broker of the platform has, and these lines."""
    return "\n".join([COMMON.read_text().rstrip(), *own, ""])


def private_configuration(settings: BrokerSettings) -> str:
    """rabbitmq.conf of a private broker."""
    listeners = [f"listeners.tcp.{i} = {address}:{settings.port}" for i, address in enumerate(settings.listen, 1)]
    return configuration(
        *listeners,
        f"load_definitions = {settings.definitions}",
        "management.tcp.ip = 127.0.0.1",
        f"management.tcp.port = {settings.management_port}",
        f"prometheus.tcp.ip = {settings.listen[-1]}",
        f"prometheus.tcp.port = {settings.metrics_port}",
    )


def enabled_plugins() -> str:
    return f"[{','.join(PLUGINS)}].\n"


def environment(settings: BrokerSettings) -> dict[str, str]:
    """For rabbitmq-server, epmd and rabbitmqctl.

    The Erlang schedulers must not spin while idle (+sbwt none). "Under systemd" the start script becomes the
    server, instead of a shell that waits for it and would leave it behind when killed.
    """
    return {
        "HOME": str(settings.folder),
        "RABBITMQ_NODENAME": f"{settings.name}@localhost",
        "RABBITMQ_CONFIG_FILE": str(settings.folder / "rabbitmq"),
        "RABBITMQ_MNESIA_BASE": str(settings.folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(settings.folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(settings.folder / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(settings.distribution_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(ERLANG_ARGUMENTS),
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_PORT": str(settings.epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
    }


def definitions(accounts: Sequence[RabbitmqUser], vhosts: Sequence[str] = ("/",)) -> str:
    """definitions.json: every account with its rights, on every vhost."""
    pairs = [(vhost, account) for vhost in vhosts for account in accounts]
    return json.dumps(
        {
            "vhosts": [{"name": vhost} for vhost in vhosts],
            "users": [_user(account) for account in accounts],
            "permissions": [_permission(vhost, account) for vhost, account in pairs],
            "topic_permissions": [right for vhost, account in pairs for right in _topics(vhost, account)],
            "policies": [policy for vhost in vhosts for policy in _bounds(vhost)],
            "parameters": [_vhost_limits(vhost) for vhost in vhosts],
            "exchanges": [_exchange(vhost, *one) for vhost in vhosts for one in EXCHANGES.items()],
        },
        indent=1,
    )


def write(settings: BrokerSettings, accounts: Sequence[RabbitmqUser], vhosts: Sequence[str] = ("/",)) -> None:
    settings.folder.mkdir(parents=True, exist_ok=True)
    for folder in ("mnesia", "log"):
        (settings.folder / folder).mkdir(exist_ok=True)
    (settings.folder / "rabbitmq.conf").write_text(private_configuration(settings))
    (settings.folder / "enabled_plugins").write_text(enabled_plugins())
    handle = os.open(settings.definitions, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(definitions(accounts, vhosts))


def _bounds(vhost: str) -> list[dict[str, Any]]:
    """Policies: a queue that is full refuses what is published to it, which throttles the sender; one of events drops
    the oldest, as their hearers reconcile."""
    refusing = {"max-length": QUEUE_MESSAGES, "overflow": "reject-publish"}
    dropping = {"max-length": QUEUE_MESSAGES, "overflow": "drop-head"}
    return [
        _policy(vhost, "bounded-user-queues", r"^user\.", {**refusing, "max-length-bytes": USER_QUEUE_BYTES}),
        _policy(vhost, "bounded-calls", "^(rpc|internal)-", {**refusing, "max-length-bytes": QUEUE_BYTES}),
        _policy(vhost, "bounded-events", "^evt-", {**dropping, "max-length-bytes": QUEUE_BYTES}),
    ]


def _policy(vhost: str, name: str, pattern: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "vhost": vhost,
        "name": name,
        "pattern": pattern,
        "apply-to": "queues",
        "definition": definition,
        "priority": 0,
    }


def _vhost_limits(vhost: str) -> dict[str, Any]:
    return {"component": "vhost-limits", "name": "limits", "vhost": vhost, "value": {"max-queues": MAX_QUEUES}}


def _exchange(vhost: str, name: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    # Users and agents of further hosts may not declare exchanges, and may use them before the first service has.
    return {
        "name": name,
        "vhost": vhost,
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": arguments,
    }


def _user(account: RabbitmqUser) -> Mapping[str, Any]:
    salt = os.urandom(4)
    digest = hashlib.sha256(salt + account.password.encode()).digest()
    return {
        "name": account.user,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": account.tags,
    }


def _permission(vhost: str, account: RabbitmqUser) -> Mapping[str, Any]:
    rights = account.rights
    return {
        "user": account.user,
        "vhost": vhost,
        "configure": rights.configure,
        "write": rights.write,
        "read": rights.read,
    }


def _topics(vhost: str, account: RabbitmqUser) -> list[Mapping[str, Any]]:
    return [
        {"user": account.user, "vhost": vhost, "exchange": t.exchange, "write": t.write, "read": t.read}
        for t in account.rights.topics
    ]
