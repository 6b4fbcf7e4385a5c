"""`docker compose run --rm setup COMMAND`; without one, as at each `up`: what this platform needs is made, once.

Makes secrets at the first start, none of which is in any file of the checkout, and the broker's files at each.
Volumes: /var/lib/walt/setup (its own), /run/secrets/walt (services), /run/secrets/accounts (nodes),
/run/secrets/grafana, /run/secrets/postgres (with deploy/compose/postgres.yml), /etc/walt (broker), /var/lib/walt/registry and /var/lib/walt/lines (given to their users).
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from deploy.compose import certificates, outside
from deploy.local import broker
from deploy.local.programs import ACCOUNTS_ACCOUNT, SERVICES_ACCOUNT
from services.contracts import nodes
from services.contracts.errors import Unreachable, WaltError
from services.contracts.rights import NO_RIGHTS, SERVICE_RIGHTS
from services.kit.files import write_atomically

OWN = Path("/var/lib/walt/setup")
SERVICES, ACCOUNTS, GRAFANA, POSTGRES = (
    Path("/run/secrets") / name for name in ("walt", "accounts", "grafana", "postgres")
)
BROKER = Path(outside.FOLDER)
RABBITMQ = Path(__file__).parents[1] / "rabbitmq"

HOLDERS = {Path("/var/lib/walt/registry"): 64900, Path("/var/lib/walt/lines"): 64901}  # the users of deploy/Dockerfile
READABLE = 0o644  # by processes of any user: of those containers only that have the volume
START_LIMIT_S = 90.0


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """What this platform needs is made; doing it again changes nothing."""
    if context.invoked_subcommand is None:
        make(os.environ)


def make(environment: Mapping[str, str]) -> None:
    reach = outside.load(environment)
    passwords = _passwords(SERVICES_ACCOUNT, ACCOUNTS_ACCOUNT, "grafana", "postgres")
    services, accounts = passwords[SERVICES_ACCOUNT], passwords[ACCOUNTS_ACCOUNT]
    write_atomically(SERVICES / "amqp_uri", f"amqp://{SERVICES_ACCOUNT}:{services}@rabbitmq:5672//", READABLE)
    write_atomically(ACCOUNTS / "broker_api", f"http://{ACCOUNTS_ACCOUNT}:{accounts}@rabbitmq:15672", READABLE)
    write_atomically(GRAFANA / "password", passwords["grafana"], READABLE)
    if POSTGRES.is_dir():
        url = f"postgresql+psycopg://walt:{passwords['postgres']}@postgres/walt"
        write_atomically(POSTGRES / "password", passwords["postgres"], READABLE)
        write_atomically(POSTGRES / "url", url, READABLE)
    _write_broker(reach, passwords)
    for folder, user in HOLDERS.items():
        os.chown(folder, user, user)
    if reach.is_open:
        click.echo(f"warning: AMQP is open at {reach.address} in clear; WALT_AMQP_TLS=on encrypts it", err=True)


@main.command()
@click.argument("name", default="admin")
@click.option("--plain-user", is_flag=True, help="not an administrator of the platform")
def client(name: str, plain_user: bool) -> None:
    """Print the client.toml of user NAME, with a new password: an account that is there loses its former one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from services.kit import peers  # nameko: the other commands need no broker
    reach = outside.load(os.environ)
    os.environ["WALT_AMQP_URI"] = (SERVICES / "amqp_uri").read_text()
    made = _patiently(lambda: peers.call(nodes.SERVICE, "ensure_user", name=name, administrator=not plain_user))
    ca = (BROKER / "ca.pem").read_text() if reach.tls else ""
    click.echo(outside.client_toml(reach, made["name"], made["password"], ca), nl=False)


@main.command()
def grafana() -> None:
    """Print the password of Grafana's administrator, admin."""
    click.echo((GRAFANA / "password").read_text())


def _patiently(ask: Callable[[], Any]) -> Any:
    """The platform may be just starting."""
    end = time.monotonic() + START_LIMIT_S
    while True:
        try:
            return ask()
        except Unreachable:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _write_broker(reach: outside.Outside, passwords: Mapping[str, str]) -> None:
    if reach.tls:
        certificates.ensure(OWN / "authority", BROKER, reach.name, outside.alternative_name(reach.name))
        (BROKER / "key.pem").chmod(READABLE)
    settings = (RABBITMQ / "rabbitmq.conf").read_text() + outside.listener(reach)
    accounts = [
        broker.Account(SERVICES_ACCOUNT, passwords[SERVICES_ACCOUNT], SERVICE_RIGHTS),
        broker.Account(ACCOUNTS_ACCOUNT, passwords[ACCOUNTS_ACCOUNT], NO_RIGHTS, broker.ADMINISTRATOR),
    ]
    write_atomically(BROKER / "rabbitmq.conf", settings, READABLE)
    write_atomically(BROKER / "enabled_plugins", broker.enabled_plugins(), READABLE)
    write_atomically(BROKER / "definitions.json", broker.definitions(accounts), READABLE)


def _passwords(*names: str) -> dict[str, str]:
    """By account; one that is new is written down first."""
    path = OWN / "passwords.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    wanted = {name: known.get(name) or secrets.token_urlsafe(24) for name in (*known, *names)}
    if wanted != known:
        write_atomically(path, json.dumps(wanted, indent=1), 0o600)
    return wanted


if __name__ == "__main__":
    try:
        main()
    except WaltError as error:
        click.echo(f"setup: {error}", err=True)
        sys.exit(error.exit_code)
