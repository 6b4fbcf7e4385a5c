"""What `walt lab` does: loaded by the commands when they run, since other commands need none of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from walt.client import Client
from walt.contracts import lab_check, lab_events, lab_expect
from walt.contracts.errors import Conflict
from walt.contracts.labs import LabApplied
from walt.contracts.nodes import Changed, NodeView, PortView
from walt.contracts.vmrunner import BOOTED
from walt.replies import read

from ..ui.confirm import confirm_force
from ..ui.messages import print_message
from ..ui.options import node_set
from ..ui.schedules import start_schedules
from ..ui.tables import Column, echo, echo_data
from ..ui.wait import get_nodes, wait_until
from . import plan_text, source
from .source import LabSource

EXIT_DIFFERENT = 1
OK = "ok"
NOTHING_EXPECTED = "this lab expects nothing; 'walt help labs' tells how"
MEASURED = [Column("expectation"), Column("expected"), Column("measured"), Column("result")]


def validate(file: str) -> None:
    found = source.read_file(file)
    count = len(found.document.nodes)
    print_message(f"{found.label}: a lab of {count} node{'s' if count > 1 else ''}; nothing is wrong with it")


def plan(client: Client, lab: str) -> None:
    _show_plan(_apply(client, source.load(client, lab), dry_run=True))


def apply(client: Client, lab: str, dry_run: bool, force: bool, wait: bool, timeout_s: float | None) -> None:
    wanted = source.load(client, lab)
    _check_files(wanted)
    done = confirm_force(lambda forced: _apply(client, wanted, dry_run, forced), force)
    _show_plan(done)
    for note in done.notes:
        print_message(note)
    if not dry_run:
        _finish(client, wanted, done.nodes, wait, timeout_s)


def diff(client: Client, lab: str) -> int:
    done = _apply(client, source.load(client, lab), dry_run=True)
    for line in plan_text.lines(done.actions):
        echo_data(line)
    return EXIT_DIFFERENT if done.actions else 0


def nodes_of(client: Client, lab: str) -> list[Any]:
    """As `get_nodes` answers."""
    names = source.get_lab(client, source.name_of(lab)).nodes
    return list(client.call("nodes", "get_nodes", selection=",".join(names))) if names else []


def wait(client: Client, lab: str, timeout_s: float | None) -> None:
    names = source.get_lab(client, source.name_of(lab)).nodes
    if names:
        wait_until(client, get_nodes(client, ",".join(names)), BOOTED, timeout_s)


def start(client: Client, lab: str, after_s: float) -> None:
    found = source.load(client, lab)
    ports = lab_events.port_schedules(found.document)
    if not ports:
        raise Conflict(f"{found.document.name} has no events; 'walt help labs' tells how")
    start_schedules(client, ports, after_s)


def check(client: Client, lab: str, timeout_s: float | None, output: str) -> int:
    found = source.load(client, lab)
    names = source.get_lab(client, found.document.name).nodes
    if missing := sorted({node.name.lower() for node in found.document.nodes} - set(names)):
        raise Conflict(f"{', '.join(missing)}: not there yet; apply the lab first: walt lab apply {lab}")
    nodes = get_nodes(client, ",".join(names))
    wait_until(client, nodes, BOOTED, timeout_s)
    rows = _measured(client, found, nodes)
    echo(rows, MEASURED, output, NOTHING_EXPECTED)
    return 0 if all(row["result"] == OK for row in rows) else EXIT_DIFFERENT


def export_lab(client: Client, name: str, nodes: str | None) -> None:
    from . import export, writer

    if nodes:
        echo_data(writer.text_of(export.document_of(name, get_nodes(client, node_set(nodes)))))
        return
    known = source.get_lab(client, name)
    found = get_nodes(client, ",".join(known.nodes)) if known.nodes else []
    echo_data(writer.text_of(export.with_work_of(export.document_of(name, found), known.document)))


def convert(file: str) -> None:
    from . import writer

    done = source.convert_file(file)
    for sentence in done.left_out:
        print_message(sentence)
    echo_data(writer.text_of(done.document))


def draw(client: Client, lab: str, output: str) -> None:
    from . import graph

    if source.is_file(lab):
        document = source.read_file(lab).document
        nodes = lab_check.check(document).nodes
        found = graph.picture(document.name, [node.name for node in nodes], graph.of_nodes(nodes))
    else:
        names = source.get_lab(client, lab).nodes
        ports = client.call("nodes", "get_ports", selection=",".join(names)) if names else []
        found = graph.picture(lab, names, graph.of_ports(read(list[PortView], ports)))
    echo_data(graph.FORMATS[output](found))


def destroy(client: Client, lab: str, force: bool) -> None:
    name = source.name_of(lab)
    reply = confirm_force(lambda forced: client.call("nodes", "remove_lab", name=name, force=forced), force)
    gone = [node.name for node in read(Changed, reply).nodes]
    print_message(f"{name}: removed" + (f" with {', '.join(gone)}" if gone else ""))


def _check_files(wanted: LabSource) -> None:
    if any(node.files for node in wanted.document.nodes):
        from . import work

        if missing := work.missing_files(wanted.document, wanted.folder):
            raise wanted.refusal(missing)


def _finish(client: Client, wanted: LabSource, nodes: Sequence[NodeView], wait: bool, timeout_s: float | None) -> None:
    """Wait for all nodes, or at least for those into which something goes."""
    names = {node.name.lower() for node in wanted.document.nodes if node.files or node.run}
    prepared = [node for node in nodes if node.name in names]
    if wait or prepared:
        wait_until(client, nodes if wait else prepared, BOOTED, timeout_s)
    if prepared:
        from . import work

        work.do_work(client, wanted.document, prepared, wanted.folder)


def _apply(client: Client, wanted: LabSource, dry_run: bool, force: bool = False) -> LabApplied:
    """Raises what the platform finds wrong, with its places in the file."""
    arguments: dict[str, Any] = {"document": dataclasses.asdict(wanted.document), "dry_run": dry_run, "force": force}
    done = read(LabApplied, client.call("nodes", "apply_lab", **arguments))
    if done.faults:
        raise wanted.refusal(done.faults)
    return done


def _measured(client: Client, lab: LabSource, nodes: Sequence[NodeView]) -> list[dict[str, str]]:
    from . import checking

    return [
        {
            "expectation": one.expectation.title,
            "expected": one.expectation.value or lab_expect.YES,
            "measured": one.measured.text,
            "result": OK if one.is_met else "FAILED",
        }
        for one in checking.check(client, lab.document, nodes)
    ]


def _show_plan(done: LabApplied) -> None:
    for line in plan_text.lines([one for one in done.actions if not plan_text.is_membership(one)]):
        echo_data(line)
    print_message(plan_text.summary(done.lab, done.actions))
