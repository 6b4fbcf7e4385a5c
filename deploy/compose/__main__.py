"""`docker compose run --rm setup COMMAND`; without one, as at each `up`: what this platform needs is made, once.

Makes secrets at the first start, none of which is in any file of the checkout, and the broker's files at each.
Volumes: /var/lib/walt/setup (its own), /run/secrets/walt (services), /run/secrets/accounts (nodes),
/run/secrets/grafana, /run/secrets/postgres (with deploy/compose/postgres.yml), /etc/walt (broker),
/var/lib/walt/registry and /var/lib/walt/lines (given to their users).
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from deploy import backup
from deploy.broker import rabbitmq
from deploy.broker.accounts import (
    ACCOUNTS_ACCOUNT,
    ensure_passwords,
    platform_accounts,
    services_client,
)
from deploy.compose import certificates, client_listener
from deploy.services import BROKER, BROKER_PORT, MANAGEMENT_PORT, METRICS_PORTS
from services.kit.files import write_atomically
from services.nodes.storage.database import sqlite_url
from services.nodes.users.rabbitmq_api import ManagementApi
from walt.contracts import host_token, nodes
from walt.contracts.agent_rights import SERVICES_ACCOUNT
from walt.contracts.errors import Conflict, InvalidRequest, Unreachable, WaltError

OWN = Path("/var/lib/walt/setup")
SERVICES, ACCOUNTS, GRAFANA, POSTGRES = (
    Path("/run/secrets") / name for name in ("walt", "accounts", "grafana", "postgres")
)
BROKER_FILES = Path(client_listener.FOLDER)

AUTHORITY = OWN / "authority"
REGISTRY = Path("/var/lib/walt/registry")  # WALT_STATE_DIR of nodes

LINES = Path("/var/lib/walt/lines")

OWNERS = {REGISTRY: 64900, LINES: 64901}  # the users of deploy/Dockerfile
READABLE = 0o644  # by processes of any user: of those containers only that have the volume
START_LIMIT_S = 90.0


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """What this platform needs is made; doing it again changes nothing."""
    if context.invoked_subcommand is None:
        make(os.environ)


def make(environment: Mapping[str, str]) -> None:
    reach = client_listener.load(environment)
    passwords = ensure_passwords(OWN / "passwords.json", SERVICES_ACCOUNT, ACCOUNTS_ACCOUNT, "grafana", "postgres")
    services, accounts = passwords[SERVICES_ACCOUNT], passwords[ACCOUNTS_ACCOUNT]
    write_atomically(SERVICES / "amqp_uri", f"amqp://{SERVICES_ACCOUNT}:{services}@{BROKER}:{BROKER_PORT}//", READABLE)
    write_atomically(
        ACCOUNTS / "broker_api", f"http://{ACCOUNTS_ACCOUNT}:{accounts}@{BROKER}:{MANAGEMENT_PORT}", READABLE
    )
    write_atomically(GRAFANA / "password", passwords["grafana"], READABLE)
    if POSTGRES.is_dir():
        url = f"postgresql+psycopg://walt:{passwords['postgres']}@postgres/walt"
        write_atomically(POSTGRES / "password", passwords["postgres"], READABLE)
        write_atomically(POSTGRES / "url", url, READABLE)
    _write_broker(reach, passwords)
    for folder, user in OWNERS.items():
        os.chown(folder, user, user)
    if reach.is_open:
        click.echo(f"warning: AMQP is open at {reach.address} in clear; WALT_AMQP_TLS=on encrypts it", err=True)


@main.command()
@click.argument("name", default="admin")
@click.option("--plain-user", is_flag=True, help="not an administrator of the platform")
def client(name: str, plain_user: bool) -> None:
    """Print the client.toml of user NAME, with a new password: an account that is there loses its former one."""
    reach = client_listener.load(os.environ)
    with contextlib.closing(services_client((SERVICES / "amqp_uri").read_text())) as services:
        account = _when_it_answers(
            lambda: services.call(nodes.SERVICE, "ensure_user", name=name, administrator=not plain_user)
        )
    ca = (BROKER_FILES / "ca.pem").read_text() if reach.tls else ""
    click.echo(client_listener.client_toml(reach, account["name"], account["password"], ca), nl=False)


@main.command()
def join() -> None:
    """Keep what the token in WALT_HOST_TOKEN says, on a further host; without one, what the one before has said."""
    text = os.environ.get("WALT_HOST_TOKEN", "")
    if text:
        token = host_token.decode(text)
        told = {"host": token.host, "server_host": token.server, "subnet": token.subnet, "amqp_uri": token.amqp_uri}
        for name, value in told.items():
            write_atomically(SERVICES / name, value, READABLE)
    elif not SERVICES.joinpath("amqp_uri").exists():
        raise InvalidRequest("WALT_HOST_TOKEN is not set; allowed: what 'walt host token HOST' prints")
    os.chown(LINES, OWNERS[LINES], OWNERS[LINES])


@main.command()
def grafana() -> None:
    """Print the password of Grafana's administrator, admin."""
    click.echo((GRAFANA / "password").read_text())


@main.command("backup")
def save() -> None:
    """Write registry, accounts and the authority of the certificates to standard output (docs/recovery.md)."""
    broker = ManagementApi((ACCOUNTS / "broker_api").read_text(), "/")
    files = {path.name: path.read_text() for path in sorted(AUTHORITY.glob("ca.*"))}
    made = backup.make(_registry(), broker.stored(), files)
    sys.stdout.buffer.write(backup.pack(made))
    click.echo(f"saved: {made.summary}", err=True)


@main.command()
@click.option("--force", is_flag=True, help="replace a registry that is there")
def restore(force: bool) -> None:
    """Put a backup from standard input into this platform, while nodes does not run; its next start begins from it."""
    found = backup.unpack(sys.stdin.buffer.read())
    if set(found.files) - {"ca.pem", "ca.key"}:
        raise InvalidRequest("this backup is of no platform in compose; allowed: one of 'setup backup'")
    if SERVICES.joinpath("amqp_uri").exists() and _nodes_answers():
        raise Conflict("nodes runs; allowed: after 'docker compose stop nodes'")
    backup.put_back(found, _registry(), REGISTRY / nodes.SERVICE, force)
    for name, text in found.files.items():
        write_atomically(AUTHORITY / name, text, 0o600)
    for path in (REGISTRY, *REGISTRY.rglob("*")):
        os.chown(path, OWNERS[REGISTRY], OWNERS[REGISTRY])
    click.echo(f"restored: {found.summary}", err=True)


def _registry() -> str:
    """The URL of its database."""
    url = POSTGRES / "url"
    return url.read_text() if url.exists() else sqlite_url(REGISTRY / nodes.SERVICE)


def _nodes_answers() -> bool:
    with contextlib.closing(services_client((SERVICES / "amqp_uri").read_text())) as services:
        try:
            services.call(nodes.SERVICE, "get_specs")
        except Unreachable:
            return False
    return True


def _when_it_answers(call: Callable[[], Any]) -> Any:
    """The result of the call, tried again while the platform may be just starting."""
    end = time.monotonic() + START_LIMIT_S
    while True:
        try:
            return call()
        except Unreachable:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _write_broker(reach: client_listener.ClientListener, passwords: Mapping[str, str]) -> None:
    if reach.tls:
        certificates.ensure(AUTHORITY, BROKER_FILES, reach.name, client_listener.alternative_name(reach.name))
        (BROKER_FILES / "key.pem").chmod(READABLE)
    settings = rabbitmq.configuration(
        f"listeners.tcp.services = 0.0.0.0:{BROKER_PORT}",
        f"load_definitions = {BROKER_FILES}/definitions.json",
        f"management.tcp.port = {MANAGEMENT_PORT}",
        f"prometheus.tcp.port = {METRICS_PORTS[BROKER]}",
        *client_listener.listener(reach),
    )
    write_atomically(BROKER_FILES / "rabbitmq.conf", settings, READABLE)
    write_atomically(BROKER_FILES / "enabled_plugins", rabbitmq.enabled_plugins(), READABLE)
    write_atomically(BROKER_FILES / "definitions.json", rabbitmq.definitions(platform_accounts(passwords)), READABLE)


if __name__ == "__main__":
    try:
        main()
    except WaltError as error:
        click.echo(f"setup: {error}", err=True)
        sys.exit(error.exit_code)
