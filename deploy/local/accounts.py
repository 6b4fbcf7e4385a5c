"""Accounts of an instance: who may log in to its broker, kept in its state, made once.

accounts.json     {"walt-services": password, "walt-accounts": password, user: password, …}   0600
clients/USER.toml what `walt` of that user reads                   0600
"""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local import broker
from deploy.local.instance import Instance, Uplink
from deploy.local.programs import ACCOUNTS_ACCOUNT, AS_RABBITMQ, SERVICES_ACCOUNT, amqp_uri, broker_place
from services.contracts.errors import InvalidRequest
from services.contracts.rights import NO_RIGHTS, SERVICE_RIGHTS, user_rights
from services.kit.commands import run
from services.kit.files import write_atomically

USER_RULE = "a lower-case letter first, then lower-case letters, digits, '-' and '_', at most 32 characters"
PLATFORM = (SERVICES_ACCOUNT, ACCOUNTS_ACCOUNT)
_USER = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)


def is_user(name: str) -> bool:
    return _USER.fullmatch(name) is not None and name not in PLATFORM


def check_user(name: str) -> str:
    if not is_user(name):
        raise InvalidRequest(f"'{name}' is not a user name; allowed: {USER_RULE}; not {' or '.join(PLATFORM)}")
    return name


def person(environment: Mapping[str, str]) -> str:
    """Who runs the launcher: the name behind sudo, or the one logged in."""
    name = environment.get("SUDO_USER") or environment.get("USER") or "root"
    return name if is_user(name) else "root"


def ensure(instance: Instance, *users: str) -> dict[str, str]:
    """All passwords by account; an account that is new is written down first."""
    path = instance.state / "accounts.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    wanted = {name: known.get(name) or secrets.token_urlsafe(24) for name in (*PLATFORM, *known, *users)}
    if wanted != known:
        write_atomically(path, json.dumps(wanted, indent=1), 0o600)
    return wanted


def write_broker(instance: Instance, uplink: Uplink, passwords: Mapping[str, str], public: Sequence[str]) -> None:
    """The broker's files, its own to read."""
    broker.write(broker_place(instance, uplink), _accounts(passwords, public))
    instance.broker.chmod(0o700)
    for folder, _, files in os.walk(instance.broker):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            shutil.chown(path, "rabbitmq", "rabbitmq")


def import_definitions(instance: Instance, uplink: Uplink) -> None:
    """Make the running broker take the accounts of its definitions file."""
    place = broker_place(instance, uplink)
    words = [*instance.enter, *AS_RABBITMQ, broker.CONTROL, "import_definitions", str(place.definitions)]
    run(words, env=broker.environment(place))


def write_clients(instance: Instance, uplink: Uplink, passwords: Mapping[str, str]) -> None:
    for user, password in passwords.items():
        if user not in PLATFORM:
            _write_for(user, instance.clients / f"{user}.toml", client_config(instance, user, password, uplink))


def client_config(instance: Instance, user: str, password: str, uplink: Uplink) -> str:
    """client.toml of the `walt` command."""
    uri = amqp_uri(user, password, uplink)
    return f'{_mark(instance)}\namqp_uri = "{uri}"\nwhile_exists = "{instance.namespace_file}"\n'


def installed_client() -> Path:
    """The client.toml that `walt` of this checkout finds by itself."""
    return Path(sys.prefix) / "etc/walt/client.toml"


def is_installed(instance: Instance) -> bool:
    path = installed_client()
    return path.exists() and path.read_text().startswith(_mark(instance) + "\n")


def install_client(instance: Instance, user: str) -> None:
    """From now on `walt` of this checkout speaks to this instance as `user`."""
    _write_for(user, installed_client(), (instance.clients / f"{user}.toml").read_text())


def public_methods(checkout: Path) -> list[str]:
    """['nodes.create_nodes', 'console@*.open_line', …], asked in a process of its own: the services patch theirs."""
    return run([sys.executable, "-m", "deploy.public"], cwd=checkout).split()


def _mark(instance: Instance) -> str:
    return f"# instance {instance.name}"


def _accounts(passwords: Mapping[str, str], public: Sequence[str]) -> list[broker.Account]:
    return [_account(name, password, public) for name, password in passwords.items()]


def _account(name: str, password: str, public: Sequence[str]) -> broker.Account:
    if name == ACCOUNTS_ACCOUNT:
        return broker.Account(name, password, NO_RIGHTS, broker.ADMINISTRATOR)
    return broker.Account(name, password, SERVICE_RIGHTS if name == SERVICES_ACCOUNT else user_rights(name, public))


def _write_for(user: str, path: Path, content: str) -> None:
    write_atomically(path, content, 0o600)
    try:
        owner = pwd.getpwnam(user)
    except KeyError:
        return  # a user of the broker only
    os.chown(path, owner.pw_uid, owner.pw_gid)
