"""`walt network trace …`: rate, delay and loss over time, for links to follow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from walt import trace_formats
from walt.client import Client
from walt.contracts import traces, units
from walt.contracts.errors import InvalidRequest, NotFound
from walt.contracts.traces import Trace
from walt.replies import read

from ..traces import ours
from ..ui.messages import age, print_message
from ..ui.tables import Column, Row, echo, output_option


@click.group()
def trace() -> None:
    """Rate, delay and loss over time, for links to follow.

    For instance: walt network trace import handover leo; walt network link vnode1 home-net trace=leo
    """


@trace.command(name="import")
@click.argument("file", metavar="FILE")
@click.argument("name", metavar="NAME")
@click.option(
    "--as", "kind", type=click.Choice(trace_formats.FORMATS), default=trace_formats.CSV, show_default=True,
    help="The format of the file.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="At its end the last row holds; without, it begins again.")
@click.pass_obj
def import_trace(client: Client, file: str, name: str, kind: str, once: bool) -> None:
    """Import a trace.

    FILE may also be the name of one that comes along: handover (a satellite link that changes its satellite every 15
    s), sawtooth or steps. The formats are explained by: walt help traces
    """
    found = _read(file, kind, loops=not once)
    content = {"text": traces.write(found), "loops": not once}
    view = read(traces.TraceView, client.call("nodes", "import_trace", name=name, content=content))
    rate = "" if view.mean_bps is None else f", {_rate(view.mean_bps)} on average"
    print_message(f"{view.name}: imported, {view.length_us / 1e6:g} s in {view.rows} rows{rate}")


@trace.command(name="list")
@output_option
@click.pass_obj
def list_traces(client: Client, output: str) -> None:
    """List your traces."""
    echo(client.call("nodes", "get_traces"), COLUMNS, output, "you have no traces")


@trace.command()
@click.argument("name", metavar="TRACE")
@output_option
@click.pass_obj
def show(client: Client, name: str, output: str) -> None:
    """Show a trace, and which links follow it."""
    echo(client.call("nodes", "get_traces", name=name), [*COLUMNS, USED_BY], output, "")


@trace.command()
@click.argument("name", metavar="TRACE")
@click.pass_obj
def remove(client: Client, name: str) -> None:
    """Remove a trace that no link follows."""
    client.call("nodes", "remove_trace", name=name)
    print_message(f"{name}: removed")


def _read(file: str, kind: str, loops: bool) -> Trace:
    """InvalidRequest with each fault of the file, and its line."""
    path = Path(file)
    if file in ours() and not path.exists():
        path, kind = ours()[file], trace_formats.CSV
    try:
        with path.open("rb") as source:
            data = source.read(trace_formats.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}; allowed: a file, or {', '.join(ours())}") from None
    if len(data) > trace_formats.MAX_FILE_BYTES:
        raise InvalidRequest(f"{file} is too large; allowed: {trace_formats.MAX_FILE_BYTES} bytes")
    try:
        return trace_formats.parse(data.decode("ascii", "backslashreplace"), kind, loops)
    except units.Faults as faults:
        raise InvalidRequest(*(f"{file}: {sentence}" for sentence in faults.args)) from None


def _rate(rate_bps: int) -> str:
    return f"{rate_bps / 1e6:.3g} Mbps"


def _latency(row: Row) -> str:
    if row["min_latency_us"] is None:
        return ""
    ends = dict.fromkeys((row["min_latency_us"], row["max_latency_us"]))
    return " to ".join(map(units.format_latency, ends))


def _cell(row: Row, key: str, text: Any) -> str:
    return "" if row[key] is None else str(text(row[key]))


COLUMNS = [
    Column("name"),
    Column("length_us", "length", lambda row: f"{row['length_us'] / 1e6:g} s"),
    Column("rows"),
    Column("loops", "at its end", lambda row: "begins again" if row["loops"] else "holds"),
    Column("mean_bps", "mean rate", lambda row: _cell(row, "mean_bps", _rate), sparse=True),
    Column("min_latency_us", "delay", _latency, sparse=True),
    Column("columns", cell=lambda row: ", ".join(row["columns"]), wide=True),
    Column("at", "age", lambda row: age(time.time() - row["at"])),
]
USED_BY = Column("used_by", "followed by", lambda row: ", ".join(row["used_by"]) or "no link")
