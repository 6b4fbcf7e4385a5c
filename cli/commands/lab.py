"""`walt lab …`: experiments as files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import click

from walt.client import Client
from walt.contracts.labs import LabApplied
from walt.contracts.nodes import Changed
from walt.contracts.vmrunner import BOOTED
from walt.replies import read

from ..lab import export as exporting
from ..lab import plan_text, source, writer
from ..lab.source import LabSource
from ..ui.confirm import confirm_force
from ..ui.messages import age, print_message
from ..ui.options import check_timeout, force_option, node_set, timeout_option, wait_option
from ..ui.tables import Column, echo, echo_data, output_option
from ..ui.wait import get_nodes, wait_until
from .node import node_columns

EXIT_DIFFERENT = 1

lab_argument = click.argument("lab", metavar="LAB")


@click.group()
def lab() -> None:
    """Experiments as files.

    LAB is a file (demo.yml, ./demo), - for standard input, or the name of a lab that was applied.

    The file is explained by: walt help labs
    """


@lab.command()
@click.argument("file", metavar="FILE")
def validate(file: str) -> None:
    """Check a file, without a platform."""
    found = source.read_file(file)
    count = len(found.document.nodes)
    print_message(f"{found.label}: a lab of {count} node{'s' if count > 1 else ''}; nothing is wrong with it")


@lab.command()
@lab_argument
@click.pass_obj
def plan(client: Client, lab: str) -> None:
    """Show what 'walt lab apply' would do.

    + a node that comes, ~ one that changes, - one that goes.
    """
    _show_plan(_apply(client, source.load(client, lab), dry_run=True))


@lab.command()
@lab_argument
@click.option("--dry-run", is_flag=True, help="Only show what would be done, as 'walt lab plan'.")
@force_option
@wait_option
@timeout_option
@click.pass_obj
def apply(client: Client, lab: str, dry_run: bool, force: bool, wait: bool, timeout: float | None) -> None:
    """Make the nodes as the lab says, and touch nothing else.

    Links change at once; nodes reboot if a change needs it. Nodes of the lab that are no longer in it are removed.
    """
    check_timeout(wait, timeout)
    wanted = source.load(client, lab)
    done = confirm_force(lambda forced: _apply(client, wanted, dry_run, forced), force)
    _show_plan(done)
    for note in done.notes:
        print_message(note)
    if wait and not dry_run:
        wait_until(client, done.nodes, BOOTED, timeout)


@lab.command()
@lab_argument
@click.pass_obj
def diff(client: Client, lab: str) -> int:
    """Show how the nodes differ from the lab; exit code 1 if they do."""
    done = _apply(client, source.load(client, lab), dry_run=True)
    for line in plan_text.lines(done.actions):
        echo_data(line)
    return EXIT_DIFFERENT if done.actions else 0


@lab.command()
@click.argument("lab", metavar="[LAB]", required=False)
@output_option
@click.pass_obj
def show(client: Client, lab: str | None, output: str) -> None:
    """Show your labs, or the nodes of one."""
    now = time.time()
    if lab is None:
        rows = client.call("nodes", "get_labs")
        echo(rows, _lab_columns(now), output, "no labs; 'walt lab apply FILE' makes one")
        return
    names = source.get_lab(client, source.name_of(lab)).nodes
    nodes = client.call("nodes", "get_nodes", selection=",".join(names)) if names else []
    echo(nodes, node_columns(now, with_owner=False), output, "the lab has no node any more")


@lab.command()
@lab_argument
@timeout_option
@click.pass_obj
def wait(client: Client, lab: str, timeout: float | None) -> None:
    """Return once all nodes of a lab are booted."""
    names = source.get_lab(client, source.name_of(lab)).nodes
    if names:
        wait_until(client, get_nodes(client, ",".join(names)), BOOTED, timeout)


@lab.command()
@click.argument("name", metavar="LAB")
@click.option("--nodes", metavar="SET", help="Of these nodes, to be a new lab of that name.")
@click.pass_obj
def export(client: Client, name: str, nodes: str | None) -> None:
    """Print a lab, as its nodes are now, as a file.

    For instance: walt lab export demo --nodes my-nodes > demo.yml
    """
    selection = node_set(nodes) if nodes else ",".join(source.get_lab(client, name).nodes)
    found = get_nodes(client, selection) if selection else []
    echo_data(writer.text_of(exporting.document_of(name, found)))


@lab.command()
@lab_argument
@force_option
@click.pass_obj
def destroy(client: Client, lab: str, force: bool) -> None:
    """Remove a lab with its nodes and their disks.

    One with a node whose disks or files hold data is removed only with --force, or after you confirm it.
    """
    name = source.name_of(lab)
    reply = confirm_force(lambda forced: client.call("nodes", "remove_lab", name=name, force=forced), force)
    gone = [node.name for node in read(Changed, reply).nodes]
    print_message(f"{name}: removed" + (f" with {', '.join(gone)}" if gone else ""))


def _apply(client: Client, wanted: LabSource, dry_run: bool, force: bool = False) -> LabApplied:
    """Raises what the platform finds wrong, with its places in the file."""
    arguments: dict[str, Any] = {"document": dataclasses.asdict(wanted.document), "dry_run": dry_run, "force": force}
    done = read(LabApplied, client.call("nodes", "apply_lab", **arguments))
    if done.faults:
        raise wanted.refusal(done.faults)
    return done


def _show_plan(done: LabApplied) -> None:
    for line in plan_text.lines([one for one in done.actions if not plan_text.is_membership(one)]):
        echo_data(line)
    print_message(plan_text.summary(done.lab, done.actions))


def _lab_columns(now: float) -> Sequence[Column]:
    return [
        Column("name"),
        Column("owner", wide=True),
        Column("nodes", cell=lambda row: ", ".join(row["nodes"])),
        Column("applied_at", "applied", lambda row: f"{age(now - row['applied_at'])} ago"),
    ]
