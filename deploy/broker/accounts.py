"""The platform's own accounts at the broker: their rights and passwords, and calls in the name of the services."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from deploy.broker.rabbitmq import ADMINISTRATOR, RabbitmqUser
from services.kit.files import write_atomically
from walt.client import Client
from walt.configuration import parse_configuration
from walt.contracts.agent_rights import AGENTS_TAG, SERVICES_ACCOUNT, agent_rights, host_of
from walt.contracts.broker_permissions import INTERNAL_EXCHANGE, NO_RIGHTS, SERVICE_RIGHTS

ACCOUNTS_ACCOUNT = "walt-accounts"  # nodes makes the users' accounts with it; it may do nothing else


def platform_accounts(passwords: Mapping[str, str]) -> list[RabbitmqUser]:
    """For the broker's definitions file; users' accounts are made by nodes. passwords: by account; those of agents of
    further hosts too, where this side knows them."""
    agents = [name for name in passwords if host_of(name)]
    return [
        RabbitmqUser(SERVICES_ACCOUNT, passwords[SERVICES_ACCOUNT], SERVICE_RIGHTS),
        RabbitmqUser(ACCOUNTS_ACCOUNT, passwords[ACCOUNTS_ACCOUNT], NO_RIGHTS, ADMINISTRATOR),
        *(RabbitmqUser(name, passwords[name], agent_rights(host_of(name)), AGENTS_TAG) for name in agents),
    ]


def ensure_passwords(path: Path, *names: str) -> dict[str, str]:
    """Passwords by name, of the file's and of these; a new one is stored before it is used. The file is root's only."""
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    wanted = {name: known.get(name) or secrets.token_urlsafe(24) for name in (*known, *names)}
    if wanted != known:
        write_atomically(path, json.dumps(wanted, indent=1), 0o600)
    return wanted


def services_client(amqp_uri: str) -> Client:
    """A client with the services' account, which may call internal methods."""
    configuration = parse_configuration(f"amqp_uri = {json.dumps(amqp_uri)}", Path(SERVICES_ACCOUNT))
    return Client(lambda: configuration, exchange=INTERNAL_EXCHANGE)
