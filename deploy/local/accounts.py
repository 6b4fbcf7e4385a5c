"""Accounts of an instance: who may log in to its broker.

accounts.json     passwords of the platform's own accounts, in its state, made once       0600
clients/USER.toml what `walt` of that user reads                                          0600

The users' accounts are the broker's own: nodes makes them, here as for `walt user add`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from deploy.broker import rabbitmq
from deploy.broker.accounts import (
    ACCOUNTS_ACCOUNT,
    ensure_passwords,
    platform_accounts,
    services_client,
)
from deploy.local.instance import Instance, LocalHost, Uplink
from deploy.local.programs import AS_RABBITMQ, amqp_uri, broker_settings
from services.kit.files import write_atomically
from services.kit.subprocesses import run
from services.nodes.users.rabbitmq_api import stored_account
from services.nodes.users.rules import StoredAccount
from walt.client import Client
from walt.configuration import parse_configuration
from walt.contracts import nodes
from walt.contracts.agent_rights import SERVICES_ACCOUNT, account_of_host
from walt.contracts.errors import Denied
from walt.contracts.names import is_user_name


def person(environment: Mapping[str, str]) -> str:
    """Who runs the launcher: the name behind sudo, or the one logged in."""
    name = environment.get("SUDO_USER") or environment.get("USER") or "root"
    return name if is_user_name(name) else "root"


def ensure(instance: Instance, hosts: Iterable[LocalHost] = ()) -> dict[str, str]:
    """The passwords of the platform's own accounts, those of the agents of these further hosts among them."""
    agents = (account_of_host(host.label) for host in hosts if not host.is_first)
    return ensure_passwords(instance.state / "accounts.json", SERVICES_ACCOUNT, ACCOUNTS_ACCOUNT, *agents)


def write_broker(instance: Instance, uplink: Uplink, passwords: Mapping[str, str]) -> None:
    """The broker's files, for its own user to read."""
    rabbitmq.write(broker_settings(instance, uplink), platform_accounts(passwords))
    instance.broker.chmod(0o700)
    for folder, _, files in os.walk(instance.broker):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            shutil.chown(path, "rabbitmq", "rabbitmq")


def import_definitions(instance: Instance, uplink: Uplink) -> None:
    """The running broker, which may be just starting, loads its definitions file again: its own accounts have the
    present passwords and rights."""
    broker = broker_settings(instance, uplink)
    for command in (("await_startup",), ("import_definitions", str(broker.definitions))):
        run([*instance.enter, *AS_RABBITMQ, rabbitmq.CONTROL, *command], env=rabbitmq.environment(broker))


def export(instance: Instance, uplink: Uplink) -> list[StoredAccount]:
    """All accounts of the running broker, as it stores them."""
    broker = broker_settings(instance, uplink)
    argv = [*instance.enter, *AS_RABBITMQ, rabbitmq.CONTROL, "--silent", "export_definitions", "-", "--format", "json"]
    definitions = json.loads(run(argv, env=rabbitmq.environment(broker)))
    return [stored_account(row) for row in definitions["users"]]


def readdress(instance: Instance, uplink: Uplink) -> None:
    """Write the present address into every client.toml: an instance may get another at each start. Passwords are
    kept."""
    for path in instance.clients.glob("*.toml"):
        password = unquote(urlsplit(tomllib.loads(path.read_text())["amqp_uri"]).password or "")
        _write_for(path.stem, path, client_config(instance, path.stem, password, uplink))


def provide(instance: Instance, uplink: Uplink, user: str, administrator: bool, new_password: bool = False) -> Path:
    """The client.toml of this user of a platform that is up. One that the broker accepts is kept, unless
    `new_password`."""
    path = instance.clients / f"{user}.toml"
    if new_password or not _is_accepted(path):
        uri = amqp_uri(SERVICES_ACCOUNT, ensure(instance)[SERVICES_ACCOUNT], uplink)
        with contextlib.closing(services_client(uri)) as services:
            account = services.call(nodes.SERVICE, "ensure_user", name=user, administrator=administrator)
        _write_for(user, path, client_config(instance, user, account["password"], uplink))
    return path


def client_config(instance: Instance, user: str, password: str, uplink: Uplink) -> str:
    """client.toml of the `walt` command."""
    uri = amqp_uri(user, quote(password, safe=""), uplink)
    return f'{_mark(instance)}\namqp_uri = "{uri}"\nwhile_exists = "{instance.namespace_file}"\n'


def installed_client() -> Path:
    """The client.toml that `walt` of this checkout finds by itself."""
    return Path(sys.prefix) / "etc/walt/client.toml"


def is_installed(instance: Instance) -> bool:
    path = installed_client()
    return path.exists() and path.read_text().startswith(_mark(instance) + "\n")


def install_client(instance: Instance, user: str) -> None:
    """From now on `walt` of this checkout talks to this instance as `user`. A link, so that the password is stored
    once."""
    path = installed_client()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(instance.clients / f"{user}.toml")


def public_methods(checkout: Path) -> list[str]:
    """['nodes.create_nodes', 'console@*.open_line', …], listed by a process of its own: importing services patches
    the standard library of theirs."""
    return run([sys.executable, "-m", "deploy.broker.public_methods"], cwd=checkout).split()


def _mark(instance: Instance) -> str:
    return f"# instance {instance.name}"


def _is_accepted(path: Path) -> bool:
    """Whether the broker knows this login."""
    if not path.exists():
        return False
    with contextlib.closing(Client(lambda: parse_configuration(path.read_text(), path))) as client:
        try:
            client.call(nodes.SERVICE, "get_notices")
        except Denied:
            return False
    return True


def _write_for(user: str, path: Path, content: str) -> None:
    write_atomically(path, content, 0o600)
    try:
        owner = pwd.getpwnam(user)
    except KeyError:
        return  # a user of the broker only
    os.chown(path, owner.pw_uid, owner.pw_gid)
