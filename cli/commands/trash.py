"""`walt trash …`: disks of removed nodes, for administrators."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from walt.client import Client
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Changed
from walt.contracts.units import format_size
from walt.replies import read

from ..ui.messages import print_message
from ..ui.tables import Column, echo, output_option


@click.group()
def trash() -> None:
    """Give back removed disks that hold data.

    Requires an administrator. A disk is kept there for a while (72 hours, unless the operator chose otherwise), or
    until the server needs its space.
    """


@trash.command()
@output_option
@click.pass_obj
def show(client: Client, output: str) -> None:
    """Show what can be given back, and for how long."""
    echo(client.call("nodes", "get_trash"), COLUMNS, output, "the trash is empty")


@trash.command()
@click.argument("disk", metavar="ID")
@click.argument("node", metavar="NODE")
@click.pass_obj
def restore(client: Client, disk: str, node: str) -> None:
    """Give a disk to a node.

    It becomes the last one of the node; a /persist replaces the one that the node has. It takes effect at the next boot
    of the node. NODE may belong to anybody: its owner sees what is on the disk.
    """
    changed = read(Changed, client.call("nodes", "restore_trash", disk=disk, node=node))
    print_message(f"{disk}: restored")
    for note in changed.notes:
        print_message(note)


@trash.command()
@click.argument("disks", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All but what is to be restored.")
@click.pass_obj
def empty(client: Client, disks: Sequence[str], everything: bool) -> None:
    """Delete disks in the trash for good."""
    if bool(disks) == everything:
        raise InvalidRequest("what is to be deleted is not clear; allowed: one or more of ID, or --all")
    removed = client.call("nodes", "empty_trash", disks=None if everything else list(disks))
    print_message(f"deleted: {', '.join(removed)}" if removed else "there is nothing to delete")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h"


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


COLUMNS = [
    Column("id"),
    Column("node"),
    Column("owner"),
    Column("what"),
    Column("used_bytes", "used", lambda row: format_size(row["used_bytes"])),
    Column("at", "removed", lambda row: _time(row["at"])),
    Column("left_s", "left", lambda row: _hours(row["left_s"])),
    Column("restored_to", "to", sparse=True),
]
