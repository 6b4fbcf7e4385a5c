"""`walt node …`: the tree, and the commands that create, show and configure nodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from walt.client import Client
from walt.contracts.names import ALL_NODES, MY_NODES
from walt.contracts.nodes import VIRTUAL, Event, NodeView
from walt.contracts.printable import printable
from walt.contracts.settings import SETTINGS
from walt.contracts.vmrunner import BOOTED, STATES
from walt.replies import read

from ..ui import takeover_notices
from ..ui.messages import age, print_message
from ..ui.options import (
    force_option,
    node_set,
    optional_selection_argument,
    selection_argument,
    timeout_option,
    wait_option,
)
from ..ui.tables import CSV, JSON, WIDE, YAML, Column, Row, as_document, echo, echo_data, output_option
from ..ui.wait import get_nodes, state_text, wait_until
from . import node_power, node_use
from .delays import say_shortfalls
from .node_save import save


@click.group()
def node() -> None:
    """Create, watch, configure and use nodes.

    SET is one or more names, separated by commas or spaces, my-nodes, free-nodes or all-nodes.
    """


for _command in (*node_use.COMMANDS, *node_power.COMMANDS, save):
    node.add_command(_command)


@node.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--image", metavar="IMAGE", help="Boot this OS image instead of the default one.")
@click.option("-c", "--config", "settings", metavar="KEY=VALUE", multiple=True, help="A setting to start with.")
@click.option("--host", metavar="HOST", help="Run them on this host, instead of one where there is room.")
@wait_option
@timeout_option
@click.pass_obj
def create(
    client: Client,
    names: Sequence[str],
    image: str | None,
    settings: Sequence[str],
    host: str | None,
    wait: bool,
    timeout: float | None,
) -> None:
    """Create virtual nodes; they are yours and start to boot at once."""
    arguments: dict[str, Any] = {"names": node_set(names).split(","), "settings": list(settings), "image": image}
    if host is not None:
        arguments["host"] = host
    node_power.change_nodes(client, "create_nodes", "created", BOOTED if wait else None, timeout, **arguments)


@node.command()
@optional_selection_argument
@click.option("--all", "everyone", is_flag=True, help="Everybody's nodes, and the free ones.")
@output_option
@click.pass_obj
def show(client: Client, selection: Sequence[str], everyone: bool, output: str) -> None:
    """Show nodes: yours, or those of SET."""
    chosen = selection_or_default(selection, everyone)
    rows, now = client.call("nodes", "get_nodes", selection=chosen), time.time()
    columns = node_columns(now, with_owner=chosen != MY_NODES)
    more = "" if everyone else ", --all shows everybody's"
    echo(rows, columns, output, f"no nodes; 'walt node create NAME' makes one{more}")
    if chosen == MY_NODES:
        notices = read(list[Event], client.call("nodes", "get_notices"))
        for sentence in takeover_notices.sentences(notices, now):
            print_message(sentence)


@node.command()
@click.argument("first", metavar="SET...")
@click.argument("words", metavar="[KEY=VALUE]...", nargs=-1)
@force_option
@output_option
@click.pass_obj
def config(client: Client, first: str, words: Sequence[str], force: bool, output: str) -> None:
    """Show or change settings.

    For instance: walt node config vnode1 ram=1G networks=walt-net,home-net[lat=10ms]

    With host=NAME a node moves to another host, with its disks, as soon as it is off or at its next boot.

    The settings are explained by: walt help settings
    """
    more, settings = split_at_first_setting(words)
    selection = node_set([first, *more])
    if settings:
        arguments: dict[str, Any] = {"selection": selection, "settings": settings}
        node_power.change_nodes_with_force(client, "configure_nodes", "configured", force, **arguments)
        if any(one.startswith("networks=") and "lat=" in one for one in settings):
            say_shortfalls(client, selection)
    elif force:
        raise click.UsageError("--force needs settings: KEY=VALUE")
    else:
        show_settings(get_nodes(client, selection), output)


@node.command()
@selection_argument
@click.option(
    "--for", "state", type=click.Choice(STATES), default=BOOTED, show_default=True, help="The state to wait for."
)
@timeout_option
@click.pass_obj
def wait(client: Client, selection: Sequence[str], state: str, timeout: float | None) -> None:
    """Return once all nodes of SET are booted, or in another state."""
    nodes = get_nodes(client, node_set(selection))
    if not nodes:
        print_message("no nodes match")
    wait_until(client, nodes, state, timeout)


def selection_or_default(words: Sequence[str], everyone: bool) -> str:
    """The SET that is given, else everybody's nodes (--all) or the user's own."""
    if words and everyone:
        raise click.UsageError("--all and SET exclude each other")
    if not words:
        return ALL_NODES if everyone else MY_NODES
    return node_set(words)


def split_at_first_setting(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """['b', 'ram=1G', 'x'] -> (['b'], ['ram=1G', 'x']). The name of a setting without a value is one too: the
    service tells what is wrong with it."""
    start = next((index for index, word in enumerate(words) if "=" in word or word in SETTINGS), len(words))
    return list(words[:start]), list(words[start:])


def node_columns(now: float, with_owner: bool) -> list[Column]:
    """The owner has a column of the table where it is not always the caller."""
    return [
        Column("name"),
        Column("owner", cell=lambda row: row["owner"] or "(free)", wide=not with_owner),
        Column("state", cell=lambda row: f"{state_text(row['state'], row.get('cause', ''))} {age(now - row['since'])}"),
        Column("since", cell=lambda row: time.strftime("%F %T", time.localtime(row["since"])), wide=True),
        Column("lab", sparse=True),
        Column("image"),
        Column("ip"),
        Column("mac", wide=True),
        Column("host"),
        Column("moves_to", "goes to", sparse=True),
        Column("type", cell=lambda row: "" if row["type"] == VIRTUAL else row["type"], sparse=True),
        Column("config", cell=lambda row: " ".join(_lines(row["config"])), wide=True),
        Column("cause", wide=True),
        Column("reason", sparse=True),
    ]


def show_settings(nodes: Sequence[NodeView], output_format: str) -> None:
    """key=value lines for people, a row per node in the wide table and in csv, else {node: {key: value}}."""
    if output_format in (JSON, YAML):
        echo_data(as_document({one.name: one.config for one in nodes}, output_format))
        return
    if output_format in (WIDE, CSV):
        rows: list[Row] = [{"node": one.name, **one.config} for one in nodes]
        echo(rows, [Column("node"), *map(Column, sorted(SETTINGS))], output_format, "no nodes")
        return
    if not nodes:
        print_message("no nodes")
    for one in nodes:
        if len(nodes) > 1:
            echo_data(f"# {one.name}")
        for line in _lines(one.config):
            echo_data(printable(line))


def _lines(config: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(config.items())]
