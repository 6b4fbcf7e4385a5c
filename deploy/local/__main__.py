"""`python -m deploy.local up|down|status|clean|user NAME|backup FILE|restore FILE [--instance NAME]`: the platform on
this host, no Docker.

Exit status: 0 done (status: up), 1 failed, 2 usage, 3 down (status), 4 conflict.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import IO

import click

from deploy.local import accounts, lifecycle, network, recovery, supervisor
from deploy.local.instance import DEFAULT_NAME, MAX_HOSTS, Instance
from deploy.services import BROKER_PORT, METRICS_PORTS
from walt.contracts.errors import WaltError

EXIT_DOWN = 3


class _InstanceName(click.ParamType[Instance]):
    name = "NAME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Instance:
        try:
            return value if isinstance(value, Instance) else Instance(str(value))
        except ValueError as fault:
            self.fail(str(fault), param, ctx)


class _ImageChoice(click.ParamType[tuple[str, str]]):
    name = "NAME=RECIPE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, recipe = str(value).partition("=")
        if not (name and equals and recipe):
            self.fail(
                f"'{value}' is not an image choice; allowed: NAME=RECIPE, for instance default=debian", param, ctx
            )
        return name, recipe


instance_option = click.option(
    "--instance", type=_InstanceName(), default=DEFAULT_NAME, show_default=True, help="which platform of this host"
)


@click.group()
def main() -> None:
    """The platform on this host, without Docker: RabbitMQ, DNS and disk servers, five services in a network of its
    own."""


@main.command()
@instance_option
@click.option("--image", "images", type=_ImageChoice(), multiple=True, help="images that users see, and their recipes")
@click.option(
    "--internet/--no-internet", default=None, help="whether nodes with netsetup=NAT reach what this host reaches"
)
@click.option("--ksm/--no-ksm", default=None, help="whether nodes share equal pages of memory (docs/security.md)")
@click.option("--hosts", type=click.IntRange(1, MAX_HOSTS), help="how many hosts it has, each with agents of its own")
@click.option("--watch-consoles", type=click.Choice(["owner", "all"]), help="who may watch the console of a node")
def up(
    instance: Instance,
    images: tuple[tuple[str, str], ...],
    internet: bool | None,
    ksm: bool | None,
    hosts: int | None,
    watch_consoles: str | None,
) -> None:
    """Start the platform, and return when it answers. Options that are not given stay as they were the last time."""
    options = {
        "recipes": dict(images) or None,
        "internet": internet,
        "ksm": ksm,
        "hosts": hosts,
        "watch_consoles": watch_consoles,
    }
    given = {name: value for name, value in options.items() if value is not None}
    lifecycle.up(instance, given, accounts.person(os.environ), _progress)
    _progress(f"instance {instance.name} is up")


@main.command()
@instance_option
def down(instance: Instance) -> None:
    """Stop everything; registry, disks and accounts stay."""
    lifecycle.down(instance, _progress)


@main.command()
@instance_option
def clean(instance: Instance) -> None:
    """Stop everything and forget the instance's state. Built images stay."""
    lifecycle.clean(instance, _progress)


@main.command()
@instance_option
@click.argument("name")
@click.option("--admin", "administrator", is_flag=True, help="an administrator, with a new password")
def user(instance: Instance, name: str, administrator: bool) -> None:
    """Give NAME an account; prints the path of its client.toml."""
    click.echo(lifecycle.add_user(instance, name, administrator))


@main.command()
@instance_option
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def backup(instance: Instance, path: Path) -> None:
    """Write registry, accounts and logins to a new FILE, while the platform runs (docs/recovery.md)."""
    _progress(f"{path}: {recovery.save(instance, path).summary}")


@main.command()
@instance_option
@click.option("--force", is_flag=True, help="replace a registry that is there")
@click.argument("file", metavar="FILE", type=click.File("rb"))
def restore(instance: Instance, file: IO[bytes], force: bool) -> None:
    """Put a backup into an instance that is down; the next `up` starts from it."""
    found = recovery.restore(instance, file.read(), force)
    _progress(f"instance {instance.name} has {found.summary}; start it with 'up'")


@main.command()
@instance_option
def status(instance: Instance) -> None:
    """Show programs, addresses and metrics. Exit status 3 when the instance is down."""
    uplink = network.find(instance)
    if uplink is None or not supervisor.is_alive(instance):
        click.echo(f"instance {instance.name} is down")
        sys.exit(EXIT_DOWN)
    click.echo(f"instance {instance.name} is up, broker at {uplink.inside}:{BROKER_PORT}")
    click.echo(f"virtual machines: {_count_vms(instance)}")
    for program in supervisor.states(instance):
        port = METRICS_PORTS.get(program.name)
        metrics = f"metrics http://{uplink.inside}:{port}/metrics" if port else ""
        click.echo(f"  {program.name:<14}{program.state:<10}{program.description:<28}{metrics}".rstrip())
    click.echo(f"logs {instance.logs}; enter its network with: ip netns exec {instance.namespace} COMMAND")


def _count_vms(instance: Instance) -> int:
    return sum(network.program_of(pid).startswith("qemu-system") for pid in network.processes(instance))


def _progress(text: str) -> None:
    click.echo(f"* {text}", err=True)


if __name__ == "__main__":
    os.umask(0o022)  # the broker and the users of this host read in the state folder
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was begun is undone
    try:
        main()
    except WaltError as error:
        click.echo(f"deploy.local: {error}", err=True)
        sys.exit(error.exit_code)
