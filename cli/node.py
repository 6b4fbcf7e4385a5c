"""`walt node …`: the tree, and the commands that create, show and configure nodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from cli import node_use, notices, orders
from cli.forms import CSV, JSON, WIDE, YAML, Column, Row, as_document, echo, echo_data, output_option
from cli.options import force_option, timeout_option, wait_option
from cli.output import age, say
from cli.save import save
from cli.waiting import Node, get_nodes, wait_until
from services.contracts.names import ALL_NODES, MY_NODES
from services.contracts.nodes import VIRTUAL
from services.contracts.settings import SETTINGS
from services.contracts.vmrunner import BOOTED, STATES


@click.group()
def node() -> None:
    """Create, watch, configure and use nodes.

    SET is one or more names split by commas, my-nodes, free-nodes or all-nodes.
    """


for _command in (*node_use.COMMANDS, *orders.COMMANDS, save):
    node.add_command(_command)


@node.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--image", metavar="IMAGE", help="Boot this OS image instead of the default one.")
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
    what: dict[str, Any] = {"names": list(names), "settings": list(settings), "image": image}
    orders.order(client, "create_nodes", "created", BOOTED if wait else None, timeout, **what)


@node.command()
@click.argument("selection", metavar="[SET]", required=False)
@click.option("--all", "everyone", is_flag=True, help="Everybody's nodes, and the free ones.")
@output_option
@click.pass_obj
def show(client: Any, selection: str | None, everyone: bool, output: str) -> None:
    """Show nodes: yours, or those of SET."""
    if selection is not None and everyone:
        raise click.UsageError("--all and SET exclude each other")
    chosen = (ALL_NODES if everyone else MY_NODES) if selection is None else selection
    nodes, now = get_nodes(client, chosen), time.time()
    columns = node_columns(now, with_owner=chosen != MY_NODES)
    more = "" if everyone else ", --all shows everybody's"
    echo(nodes, columns, output, f"no nodes; 'walt node create NAME' makes one{more}")
    if chosen == MY_NODES:
        for sentence in notices.sentences(client.call("nodes", "get_notices"), now):
            say(sentence)


@node.command()
@click.argument("selection", metavar="SET")
@click.argument("settings", metavar="[KEY=VALUE]...", nargs=-1)
@force_option
@output_option
@click.pass_obj
def config(client: Any, selection: str, settings: Sequence[str], force: bool, output: str) -> None:
    """Show or change settings.

    For instance: walt node config vnode1 ram=1G networks=walt-net,home-net[lat=10ms]

    The settings are told by: walt help settings
    """
    if settings:
        orders.insist_on(client, "configure_nodes", "configured", force, selection=selection, settings=list(settings))
    elif force:
        raise click.UsageError("--force is for settings that are given: KEY=VALUE")
    else:
        show_settings(get_nodes(client, selection), output)


@node.command()
@click.argument("selection", metavar="SET")
@click.option(
    "--for", "state", type=click.Choice(STATES), default=BOOTED, show_default=True, help="The state to wait for."
)
@timeout_option
@click.pass_obj
def wait(client: Any, selection: str, state: str, timeout: float | None) -> None:
    """Return once all nodes of SET are booted, or in another state."""
    nodes = get_nodes(client, selection)
    if not nodes:
        say("no node is concerned")
    wait_until(client, nodes, state, timeout)


def node_columns(now: float, with_owner: bool) -> list[Column]:
    """The owner is a column for people where it is not the caller alone."""
    return [
        Column("name"),
        Column("owner", cell=lambda row: row["owner"] or "(free)", wide=not with_owner),
        Column("state", cell=lambda row: f"{row['state']} {age(now - row['since'])}"),
        Column("since", cell=lambda row: time.strftime("%F %T", time.localtime(row["since"])), wide=True),
        Column("image"),
        Column("ip"),
        Column("mac", wide=True),
        Column("host"),
        Column("type", cell=lambda row: "" if row["type"] == VIRTUAL else row["type"], sparse=True),
        Column("config", cell=lambda row: " ".join(_lines(row["config"])), wide=True),
        Column("reason", sparse=True),
    ]


def show_settings(nodes: Sequence[Node], form: str) -> None:
    """key=value lines for people, a row for each node in the wide table and in csv, else {node: {key: value}}."""
    if form in (JSON, YAML):
        echo_data(as_document({one["name"]: one["config"] for one in nodes}, form))
        return
    if form in (WIDE, CSV):
        rows: list[Row] = [{"node": one["name"], **one["config"]} for one in nodes]
        echo(rows, [Column("node"), *map(Column, sorted(SETTINGS))], form, "no nodes")
        return
    if not nodes:
        say("no nodes")
    for one in nodes:
        if len(nodes) > 1:
            click.echo(f"# {one['name']}")
        for line in _lines(one["config"]):
            click.echo(line)


def _lines(config: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(config.items())]
