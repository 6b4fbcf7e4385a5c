"""`walt network`: the links of nodes to their networks, as requested, applied and measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import click

from walt.client import Client
from walt.contracts import network_uses, units
from walt.contracts.names import MY_NODES
from walt.contracts.nodes import Changed, PortView
from walt.contracts.schedules import PortSchedule
from walt.replies import read

from ..ui.messages import print_message
from ..ui.options import SECONDS, Between, node_set, optional_selection_argument
from ..ui.schedules import start_option, start_schedules
from ..ui.tables import JSON, YAML, Column, Row, echo, output_option
from ..ui.wait import get_node
from .delays import delay_us, say_shortfalls, shortfalls
from .node import selection_or_default
from .trace import trace

MAX_COUNT = 10**9


@click.group()
def network() -> None:
    """Networks of nodes and what their links do."""


@network.command()
@optional_selection_argument
@click.option("--all", "everyone", is_flag=True, help="Of everybody's nodes, and of the free ones.")
@output_option
@click.pass_obj
def show(client: Client, selection: Sequence[str], everyone: bool, output: str) -> None:
    """Show the network ports of your nodes, or of those of SET.

    Each with its link as requested; the delay of what the node sends, as requested, as applied (without the platform's
    own latency) and as measured; and how many frames have passed, were dropped, and were more than 1 ms late. Where a
    running node has not the addresses that it is to have: those that it has, and why.
    """
    chosen = selection_or_default(selection, everyone)
    rows: list[dict[str, Any]] = client.call("nodes", "get_ports", selection=chosen)
    rows.sort(key=lambda row: (row["network"], row["owner"], row["node"], row["interface"]))
    ports = read(list[PortView], rows)
    if output not in (JSON, YAML):
        rows = [flat(port) for port in ports]
    echo(
        rows,
        COLUMNS,
        output,
        "no ports: no nodes" + ("" if chosen != MY_NODES else " of yours; --all shows everybody's"),
    )
    for sentence in shortfalls(ports):
        print_message(sentence)


@network.command()
@click.argument("selection", metavar="SET")
@click.argument("name", metavar="NETWORK")
@click.argument("options", metavar="[OPTION=VALUE]...", nargs=-1)
@click.option("--replace", is_flag=True, help="Start from a plain link; without it, other options stay.")
@click.pass_obj
def link(client: Client, selection: str, name: str, options: Sequence[str], replace: bool) -> None:
    """Change the link of nodes to a network, at once.

    For instance: walt network link vnode1 home-net lat=20ms loss=1%. addr= is their address there.
    """
    arguments: dict[str, Any] = {"selection": node_set(selection), "network": name, "replace": replace}
    changed = read(Changed, client.call("nodes", "link_nodes", options=list(options), **arguments))
    for node in changed.nodes:
        print_message(f"{node.name}: the link to {name} is {link_of(node.config['networks'], name)}")
    for note in changed.notes:
        print_message(note)
    if any(option.startswith("lat=") for option in options):
        say_shortfalls(client, arguments["selection"], name)


@network.command()
@click.argument("selection", metavar="SET")
@click.argument("name", metavar="NETWORK")
@click.argument("words", metavar="[OPTION=VALUE]...", nargs=-1)
@start_option
@click.pass_obj
def schedule(client: Client, selection: str, name: str, words: Sequence[str], after: float) -> None:
    """Let links change by themselves.

    For instance: walt network schedule vnode1 home-net at=10s lat=80ms at=20s every=10s until=60s lat=20ms loss=1%

    Times count from one start for all links. lat, bw and loss can change. It ends, and the link is as before, by: walt
    network link vnode1 home-net trace=none
    """
    start_schedules(client, [PortSchedule(node_set(selection), name, tuple(words))], after)


@network.command()
@click.argument("node_name", metavar="NODE")
@click.argument("name", metavar="NETWORK")
@click.option("-w", "--write", "path", metavar="FILE", help="Write a pcapng file; - is standard output.")
@click.option("--wireshark", is_flag=True, help="Show the frames in Wireshark as they come.")
@click.option(
    "--filter", "expression", metavar="EXPR", default="", help="Only these frames: 'tcp port 80' (man pcap-filter)."
)
@click.option("--count", type=Between(1, MAX_COUNT), metavar="N", help="End after N frames.")
@click.option(
    "--ring", type=SECONDS, metavar="S", help="Keep the frames of the last S seconds only; written at the end."
)
@click.option("--with", "other", metavar="NODE", help="Both ends in one file, with what the link does to each frame.")
@click.pass_obj
def capture(
    client: Client,
    node_name: str,
    name: str,
    path: str | None,
    wireshark: bool,
    expression: str,
    count: int | None,
    ring: float | None,
    other: str | None,
) -> int:
    """Capture the frames of a node on a network, until ctrl-c.

    Those that the node sends, before its link has done anything to them, and those that it receives. Times are in
    nanoseconds. A capture delays no frame: what this computer or the server is too slow for is left out of it, and
    counted.
    """
    from ..sessions import capture as session

    if wireshark and path is not None:
        raise click.UsageError("-w and --wireshark exclude each other")
    if wireshark and ring is not None:
        raise click.UsageError("--ring and --wireshark exclude each other")
    if other is not None and (ring is not None or count is not None):
        raise click.UsageError("--with excludes --ring and --count")
    if other == node_name:
        raise click.UsageError(f"--with {other}: this is the node itself; allowed: another one on {name}")
    sink = session.sink_of(path, wireshark)
    if other is not None:
        from ..sessions.capture_both import capture_both

        return capture_both(client, [get_node(client, one) for one in (node_name, other)], name, expression, sink)
    return session.capture(client, get_node(client, node_name), name, expression, count or 0, sink, ring)


network.add_command(trace)


def link_of(networks: str, name: str) -> str:
    """'walt-net,home-net[lat=10ms]', 'home-net' -> 'lat=10ms'"""
    use = next(one for one in network_uses.parse_networks(networks) if one.name == name)
    return ",".join(network_uses.format_port(use)) or "plain"


def flat(port: PortView) -> dict[str, Any]:
    """One row with a value per column; the delays are those of what the node sends, in microseconds."""
    up, down = dataclasses.asdict(port.up), dataclasses.asdict(port.down)
    counts = {f"{side}_{name}": traffic[name] for side, traffic in (("up", up), ("down", down)) for name in COUNTERS}
    sums = {name: up[name] + down[name] for name in COUNTERS}
    delays = {"delay_us": delay_us(port.asked), "applied_delay_us": delay_us(port.applied)}
    return {**dataclasses.asdict(port), **delays, **counts, **sums}


def _address_now(row: Row) -> str:
    """Blank where the running system of the node has what was asked, or does not run."""
    applied, reason = row["applied_addresses"], row["address_reason"]
    if not reason:
        return ""
    shown = "not known" if applied is None else ", ".join(applied) or "none"
    return f"{shown} ({reason})"


def _delay(key: str) -> Callable[[Row], str]:
    """Blank where no delay was requested, or the port does not exist yet."""
    return lambda row: _latency(row[key]) if row["delay_us"] else ""


def _latency(latency_us: int | None) -> str:
    return "" if latency_us is None else units.format_latency(latency_us)


COUNTERS = ("frames", "dropped", "late")
SIDES = ("up", "down")

COLUMNS = [
    Column("network"),
    Column("owner", wide=True),
    Column("node"),
    Column("interface"),
    Column("mac", wide=True),
    Column("addresses", "address", lambda row: next(iter(row["addresses"]), ""), sparse=True),
    Column("applied_addresses", "address now", lambda row: _address_now(row), sparse=True),
    Column("backend"),
    Column("asked", "link", sparse=True),
    Column("delay_us", "delay", _delay("delay_us"), sparse=True),
    Column("applied_delay_us", "applied", _delay("applied_delay_us"), sparse=True),
    Column("measured_latency_us", "measured", lambda row: _latency(row["measured_latency_us"]), sparse=True),
    *(Column(what, "drops" if what == "dropped" else what) for what in COUNTERS),
    Column("refused", cell=lambda row: str(row["refused"] or ""), sparse=True),
    *(Column(f"{side}_{what}", wide=True) for side in SIDES for what in COUNTERS),
    Column("compensation_us", "platform", lambda row: _latency(row["compensation_us"]), wide=True),
    Column("state"),
]
