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
import secrets
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from cli.client import Client
from cli.configuration import parse_configuration
from deploy.local import broker, readiness
from deploy.local.instance import Instance, Uplink
from deploy.local.programs import ACCOUNTS_ACCOUNT, AS_RABBITMQ, SERVICES_ACCOUNT, amqp_uri, broker_place
from services.contracts import nodes
from services.contracts.errors import Denied
from services.contracts.names import is_user_name
from services.contracts.rights import NO_RIGHTS, SERVICE_RIGHTS
from services.kit.commands import run
from services.kit.files import write_atomically

PLATFORM = {
    SERVICES_ACCOUNT: (SERVICE_RIGHTS, ""),
    ACCOUNTS_ACCOUNT: (NO_RIGHTS, broker.ADMINISTRATOR),
}


def person(environment: Mapping[str, str]) -> str:
    """Who runs the launcher: the name behind sudo, or the one logged in."""
    name = environment.get("SUDO_USER") or environment.get("USER") or "root"
    return name if is_user_name(name) else "root"


def ensure(instance: Instance) -> dict[str, str]:
    """The passwords of the platform's own accounts; one that is new is written down first."""
    path = instance.state / "accounts.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    wanted = {name: known.get(name) or secrets.token_urlsafe(24) for name in PLATFORM}
    if wanted != known:
        write_atomically(path, json.dumps(wanted, indent=1), 0o600)
    return wanted


def write_broker(instance: Instance, uplink: Uplink, passwords: Mapping[str, str]) -> None:
    """The broker's files, its own to read."""
    own = [broker.Account(name, passwords[name], rights, tags) for name, (rights, tags) in PLATFORM.items()]
    broker.write(broker_place(instance, uplink), own)
    instance.broker.chmod(0o700)
    for folder, _, files in os.walk(instance.broker):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            shutil.chown(path, "rabbitmq", "rabbitmq")


def import_definitions(instance: Instance, uplink: Uplink) -> None:
    """Make the running broker take the accounts of its definitions file."""
    place = broker_place(instance, uplink)
    words = [*instance.enter, *AS_RABBITMQ, broker.CONTROL, "import_definitions", str(place.definitions)]
    run(words, env=broker.environment(place))


def readdress(instance: Instance, uplink: Uplink) -> None:
    """The addresses of an instance may be others than the last time; the passwords are kept."""
    for path in instance.clients.glob("*.toml"):
        password = unquote(urlsplit(tomllib.loads(path.read_text())["amqp_uri"]).password or "")
        _write_for(path.stem, path, client_config(instance, path.stem, password, uplink))


def provide(instance: Instance, uplink: Uplink, user: str, administrator: bool, anew: bool = False) -> Path:
    """The client.toml of this user of a platform that is up; made, unless there is one that the broker takes."""
    path = instance.clients / f"{user}.toml"
    if anew or not _is_taken(path):
        os.environ["WALT_AMQP_URI"] = amqp_uri(SERVICES_ACCOUNT, ensure(instance)[SERVICES_ACCOUNT], uplink)
        made = readiness.call(nodes.SERVICE, "ensure_user", name=user, administrator=administrator)
        _write_for(user, path, client_config(instance, user, made["password"], uplink))
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
    """From now on `walt` of this checkout speaks to this instance as `user`; a link, for there is one password."""
    path = installed_client()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(instance.clients / f"{user}.toml")


def public_methods(checkout: Path) -> list[str]:
    """['nodes.create_nodes', 'console@*.open_line', …], asked in a process of its own: the services patch theirs."""
    return run([sys.executable, "-m", "deploy.public"], cwd=checkout).split()


def _mark(instance: Instance) -> str:
    return f"# instance {instance.name}"


def _is_taken(path: Path) -> bool:
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
