"""`walt lab …`: experiments as files. What the commands do is in cli/lab, loaded when one of them runs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from walt.client import Client

from ..ui.messages import age
from ..ui.options import check_timeout, force_option, timeout_option, wait_option
from ..ui.schedules import start_option
from ..ui.tables import Column, echo, output_option
from .node import node_columns

PICTURES = ("svg", "mermaid", "dot", "drawio")

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
    from ..lab import operations

    operations.validate(file)


@lab.command()
@lab_argument
@click.pass_obj
def plan(client: Client, lab: str) -> None:
    """Show what 'walt lab apply' would do.

    + a node that comes, ~ one that changes, - one that goes.
    """
    from ..lab import operations

    operations.plan(client, lab)


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
    Then the files and commands of the lab go into the nodes that have not had them since their boot.
    """
    from ..lab import operations

    check_timeout(wait, timeout)
    operations.apply(client, lab, dry_run, force, wait, timeout)


@lab.command()
@lab_argument
@click.pass_obj
def diff(client: Client, lab: str) -> int:
    """Show how the nodes differ from the lab; exit code 1 if they do."""
    from ..lab import operations

    return operations.diff(client, lab)


@lab.command()
@click.argument("lab", metavar="[LAB]", required=False)
@output_option
@click.pass_obj
def show(client: Client, lab: str | None, output: str) -> None:
    """Show your labs, or the nodes of one."""
    from ..lab import operations

    now = time.time()
    if lab is None:
        echo(client.call("nodes", "get_labs"), _lab_columns(now), output, "no labs; 'walt lab apply FILE' makes one")
        return
    columns = node_columns(now, with_owner=False)
    echo(operations.nodes_of(client, lab), columns, output, "the lab has no node any more")


@lab.command()
@lab_argument
@timeout_option
@click.pass_obj
def wait(client: Client, lab: str, timeout: float | None) -> None:
    """Return once all nodes of a lab are booted."""
    from ..lab import operations

    operations.wait(client, lab, timeout)


@lab.command()
@lab_argument
@start_option
@click.pass_obj
def start(client: Client, lab: str, after: float) -> None:
    """Let the links of a lab change as its events say.

    All of them from one moment on. To begin again, start it again; 'walt lab apply' ends it.
    """
    from ..lab import operations

    operations.start(client, lab, after)


@lab.command()
@lab_argument
@timeout_option
@output_option
@click.pass_obj
def check(client: Client, lab: str, timeout: float | None, output: str) -> int:
    """Measure what a lab expects; exit code 1 if it is not met.

    It waits until the nodes are booted.
    """
    from ..lab import operations

    return operations.check(client, lab, timeout, output)


@lab.command()
@click.argument("name", metavar="LAB")
@click.option("--nodes", metavar="SET", help="Of these nodes, to be a new lab of that name.")
@click.pass_obj
def export(client: Client, name: str, nodes: str | None) -> None:
    """Print a lab, as its nodes are now, as a file.

    For instance: walt lab export demo --nodes my-nodes > demo.yml
    """
    from ..lab import operations

    operations.export_lab(client, name, nodes)


@lab.command()
@click.argument("file", metavar="FILE")
def convert(file: str) -> None:
    """Print a containerlab file as a lab file.

    Nodes, links and netem are taken over; what is left out is told.
    """
    from ..lab import operations

    operations.convert(file)


@lab.command("graph")
@lab_argument
@click.option(
    "-o",
    "output",
    type=click.Choice(PICTURES),
    default="svg",
    show_default=True,
    help="Format of the picture.",
)
@click.pass_obj
def draw(client: Client, lab: str, output: str) -> None:
    """Print a picture of a lab.

    Of a file, with what it asks of its links; of a lab that was applied, also with what was measured.
    """
    from ..lab import operations

    operations.draw(client, lab, output)


@lab.command()
@lab_argument
@force_option
@click.pass_obj
def destroy(client: Client, lab: str, force: bool) -> None:
    """Remove a lab with its nodes and their disks.

    One with a node whose disks or files hold data is removed only with --force, or after you confirm it.
    """
    from ..lab import operations

    operations.destroy(client, lab, force)


def _lab_columns(now: float) -> Sequence[Column]:
    return [
        Column("name"),
        Column("owner", wide=True),
        Column("nodes", cell=lambda row: ", ".join(row["nodes"])),
        Column("applied_at", "applied", lambda row: f"{age(now - row['applied_at'])} ago"),
    ]
