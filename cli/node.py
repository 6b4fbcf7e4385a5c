"""`walt node …`: each command is one or two calls of `nodes`; sessions are in `session`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from cli import node_use
from cli.options import SECONDS
from cli.output import age, as_json, say, table
from cli.waiting import Node, get_nodes, wait_until_booted
from services.contracts.names import ALL_NODES, MY_NODES

output_option = click.option(
    "-o", "output", type=click.Choice(["table", "json"]), default="table", help="Form of the output."
)
timeout_option = click.option("--timeout", type=SECONDS, metavar="S", help="Give up after S seconds (exit code 124).")
wait_option = click.option("--wait", is_flag=True, help="Return once they are booted.")


@click.group()
def node() -> None:
    """Create, watch, configure and use nodes.

    SET is one or more names split by commas, my-nodes, free-nodes or all-nodes.
    """


for _command in node_use.COMMANDS:
    node.add_command(_command)


@node.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--image", help="Boot this OS image instead of the default one.")
@click.option("-c", "--config", "settings", metavar="KEY=VALUE", multiple=True, help="A setting to start with.")
@wait_option
@timeout_option
@click.pass_obj
def create(
    client: Any,
    names: Sequence[str],
    image: str | None,
    settings: Sequence[str],
    wait: bool,
    timeout: float | None,
) -> None:
    """Create virtual nodes; they are yours and start to boot at once."""
    _timeout_needs_wait(wait, timeout)
    reply = client.call("nodes", "create_nodes", names=list(names), settings=list(settings), image=image)
    _tell(reply, "created")
    if wait:
        wait_until_booted(client, reply["nodes"], timeout)


@node.command()
@click.argument("selection", metavar="[SET]", required=False)
@click.option("--all", "everyone", is_flag=True, help="Everybody's nodes, and the free ones.")
@output_option
@click.pass_obj
def show(client: Any, selection: str | None, everyone: bool, output: str) -> None:
    """Show nodes: yours, or those of SET."""
    if selection and everyone:
        raise click.UsageError("--all and SET exclude each other")
    nodes = get_nodes(client, selection or (ALL_NODES if everyone else MY_NODES))
    if output == "json":
        click.echo(as_json(nodes))
    elif nodes:
        click.echo(_node_table(nodes, time.time(), with_owner=everyone or selection is not None))
    else:
        say("no nodes; 'walt node create NAME' makes one" + ("" if everyone else ", --all shows everybody's"))


@node.command()
@click.argument("selection", metavar="SET")
@click.argument("settings", metavar="[KEY=VALUE]...", nargs=-1)
@output_option
@click.pass_obj
def config(client: Any, selection: str, settings: Sequence[str], output: str) -> None:
    """Show or change settings: cpu.cores, ram, boot.delay, boot.timeout, boot.retries, networks.

    For instance: walt node config vnode1 ram=1G networks=walt-net,home-net[lat=10ms]
    """
    if settings:
        _tell(client.call("nodes", "configure_nodes", selection=selection, settings=list(settings)), "configured")
        return
    nodes = get_nodes(client, selection)
    if output == "json":
        click.echo(as_json({one["name"]: one["config"] for one in nodes}))
        return
    for one in nodes:
        if len(nodes) > 1:
            click.echo(f"# {one['name']}")
        for key, value in sorted(one["config"].items()):
            click.echo(f"{key}={value}")


@node.command()
@click.argument("selection", metavar="SET")
@wait_option
@timeout_option
@click.pass_obj
def reboot(client: Any, selection: str, wait: bool, timeout: float | None) -> None:
    """Restart nodes, with the settings of this moment."""
    _timeout_needs_wait(wait, timeout)
    _tell(client.call("nodes", "reboot_nodes", selection=selection), "rebooting")
    if wait:
        wait_until_booted(client, get_nodes(client, selection), timeout)


@node.command()
@click.argument("selection", metavar="SET")
@timeout_option
@click.pass_obj
def wait(client: Any, selection: str, timeout: float | None) -> None:
    """Return once all nodes of SET are booted."""
    wait_until_booted(client, get_nodes(client, selection), timeout)


@node.command()
@click.argument("selection", metavar="SET")
@click.pass_obj
def remove(client: Any, selection: str) -> None:
    """Remove nodes, their disks too."""
    _tell(client.call("nodes", "remove_nodes", selection=selection), "removed")


@node.command()
@click.argument("selection", metavar="SET")
@click.option("--force", is_flag=True, help="Take over other people's nodes.")
@click.pass_obj
def acquire(client: Any, selection: str, force: bool) -> None:
    """Make free nodes yours."""
    _tell(client.call("nodes", "acquire_nodes", selection=selection, force=force), "acquired")


@node.command()
@click.argument("selection", metavar="SET")
@click.pass_obj
def release(client: Any, selection: str) -> None:
    """Make nodes of yours free."""
    _tell(client.call("nodes", "release_nodes", selection=selection), "released")


@node.command()
@click.argument("selection", metavar="SET")
@click.argument("image")
@click.pass_obj
def boot(client: Any, selection: str, image: str) -> None:
    """Boot nodes with another OS image."""
    _tell(client.call("nodes", "boot_nodes", selection=selection, image=image), f"booting {image}")


def _timeout_needs_wait(wait: bool, timeout: float | None) -> None:
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")


def _tell(reply: dict[str, Any], done: str) -> None:
    names = [one["name"] for one in reply["nodes"]]
    say(f"{', '.join(names)}: {done}" if names else "no node is concerned")
    for note in reply["notes"]:
        say(note)


def _node_table(nodes: Sequence[Node], now: float, with_owner: bool) -> str:
    """Narrow: a column that would say nothing is left out."""
    head = ["name", *(["owner"] if with_owner else []), "state", "image", "ip", "host"]
    reasons = any(one["reason"] for one in nodes)
    rows = []
    for one in nodes:
        owner = [one["owner"] or "(free)"] if with_owner else []
        reason = [one["reason"]] if reasons else []
        state = f"{one['state']} {age(now - one['since'])}"
        rows.append([one["name"], *owner, state, one["image"], one["ip"], one["host"], *reason])
    return table([*head, *(["reason"] if reasons else [])], rows)
