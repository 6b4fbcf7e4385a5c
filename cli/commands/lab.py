"""`walt lab …`: experiments as files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import click

from walt.client import Client
from walt.contracts import lab_check, lab_expect
from walt.contracts.errors import Conflict
from walt.contracts.labs import LabApplied
from walt.contracts.nodes import Changed, NodeView, PortView
from walt.contracts.vmrunner import BOOTED
from walt.replies import read

from ..lab import checking, graph, plan_text, source, work, writer
from ..lab import export as exporting
from ..lab.checking import CheckedExpectation
from ..lab.source import LabSource
from ..ui.confirm import confirm_force
from ..ui.messages import age, print_message
from ..ui.options import check_timeout, force_option, node_set, timeout_option, wait_option
from ..ui.tables import Column, echo, echo_data, output_option
from ..ui.wait import get_nodes, wait_until
from .node import node_columns

EXIT_DIFFERENT = 1
OK = "ok"
NOTHING_EXPECTED = "this lab expects nothing; 'walt help labs' tells how"

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
    Then the files and commands of the lab go into the nodes that have not had them since their boot.
    """
    check_timeout(wait, timeout)
    wanted = source.load(client, lab)
    if missing := work.missing_files(wanted.document, wanted.folder):
        raise wanted.refusal(missing)
    done = confirm_force(lambda forced: _apply(client, wanted, dry_run, forced), force)
    _show_plan(done)
    for note in done.notes:
        print_message(note)
    if not dry_run:
        _finish(client, wanted, done.nodes, wait, timeout)


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
@lab_argument
@timeout_option
@output_option
@click.pass_obj
def check(client: Client, lab: str, timeout: float | None, output: str) -> int:
    """Measure what a lab expects; exit code 1 if it is not met.

    It waits until the nodes are booted.
    """
    found = source.load(client, lab)
    names = source.get_lab(client, found.document.name).nodes
    if missing := sorted({node.name.lower() for node in found.document.nodes} - set(names)):
        raise Conflict(f"{', '.join(missing)}: not there yet; apply the lab first: walt lab apply {lab}")
    nodes = get_nodes(client, ",".join(names))
    wait_until(client, nodes, BOOTED, timeout)
    rows = [_as_row(one) for one in checking.check(client, found.document, nodes)]
    echo(
        rows,
        [Column("expectation"), Column("expected"), Column("measured"), Column("result")],
        output,
        NOTHING_EXPECTED,
    )
    return 0 if all(row["result"] == OK for row in rows) else EXIT_DIFFERENT


@lab.command()
@click.argument("name", metavar="LAB")
@click.option("--nodes", metavar="SET", help="Of these nodes, to be a new lab of that name.")
@click.pass_obj
def export(client: Client, name: str, nodes: str | None) -> None:
    """Print a lab, as its nodes are now, as a file.

    For instance: walt lab export demo --nodes my-nodes > demo.yml
    """
    if nodes:
        echo_data(writer.text_of(exporting.document_of(name, get_nodes(client, node_set(nodes)))))
        return
    known = source.get_lab(client, name)
    found = get_nodes(client, ",".join(known.nodes)) if known.nodes else []
    echo_data(writer.text_of(exporting.with_work_of(exporting.document_of(name, found), known.document)))


@lab.command()
@click.argument("file", metavar="FILE")
def convert(file: str) -> None:
    """Print a containerlab file as a lab file.

    Nodes, links and netem are taken over; what is left out is told.
    """
    done = source.convert_file(file)
    for sentence in done.left_out:
        print_message(sentence)
    echo_data(writer.text_of(done.document))


@lab.command("graph")
@lab_argument
@click.option(
    "-o",
    "output",
    type=click.Choice(tuple(graph.FORMATS)),
    default="svg",
    show_default=True,
    help="Format of the picture.",
)
@click.pass_obj
def draw(client: Client, lab: str, output: str) -> None:
    """Print a picture of a lab.

    Of a file, with what it asks of its links; of a lab that was applied, also with what was measured.
    """
    if source.is_file(lab):
        document = source.read_file(lab).document
        nodes = lab_check.check(document).nodes
        found = graph.picture(document.name, [node.name for node in nodes], graph.of_nodes(nodes))
    else:
        names = source.get_lab(client, lab).nodes
        ports = client.call("nodes", "get_ports", selection=",".join(names)) if names else []
        found = graph.picture(lab, names, graph.of_ports(read(list[PortView], ports)))
    echo_data(graph.FORMATS[output](found))


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


def _finish(client: Client, wanted: LabSource, nodes: Sequence[NodeView], wait: bool, timeout: float | None) -> None:
    """Wait for all nodes, or at least for those into which something goes."""
    names = work.nodes_with_work(wanted.document)
    prepared = [node for node in nodes if node.name in names]
    if wait or prepared:
        wait_until(client, nodes if wait else prepared, BOOTED, timeout)
        work.do_work(client, wanted.document, prepared, wanted.folder)


def _apply(client: Client, wanted: LabSource, dry_run: bool, force: bool = False) -> LabApplied:
    """Raises what the platform finds wrong, with its places in the file."""
    arguments: dict[str, Any] = {"document": dataclasses.asdict(wanted.document), "dry_run": dry_run, "force": force}
    done = read(LabApplied, client.call("nodes", "apply_lab", **arguments))
    if done.faults:
        raise wanted.refusal(done.faults)
    return done


def _as_row(one: CheckedExpectation) -> dict[str, str]:
    return {
        "expectation": one.expectation.title,
        "expected": one.expectation.value or lab_expect.YES,
        "measured": one.measured.text,
        "result": OK if one.is_met else "FAILED",
    }


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
