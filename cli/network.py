"""`walt network`: the links of nodes to their networks, as asked, as applied, as measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict

import click

from cli.forms import JSON, YAML, Column, Row, echo, output_option
from cli.output import say
from services.contracts import links, settings, units
from services.contracts.links import LinkModel
from services.contracts.names import ALL_NODES, MY_NODES


class Traffic(TypedDict):
    frames: int
    bytes: int
    dropped: int
    late: int


class Port(TypedDict):
    """`services.contracts.nodes.PortView` as it comes over the wire."""

    node: str
    owner: str
    network: str
    interface: str
    mac: str
    state: str
    asked: str
    applied: str | None
    backend: str
    compensation_us: int
    measured_latency_us: int | None
    up: Traffic
    down: Traffic


@click.group()
def network() -> None:
    """Networks of nodes and what their links do."""


@network.command()
@click.argument("selection", metavar="[SET]", required=False)
@click.option("--all", "everyone", is_flag=True, help="Of everybody's nodes, and of the free ones.")
@output_option
@click.pass_obj
def show(client: Any, selection: str | None, everyone: bool, output: str) -> None:
    """Show the network ports of your nodes, or of those of SET.

    Each with its link as asked; the delay of what the node sends as asked, as applied (less what the platform adds by
    itself) and as measured; and how many frames have passed, were dropped, and were late by more than 1 ms.
    """
    if selection is not None and everyone:
        raise click.UsageError("--all and SET exclude each other")
    chosen = (ALL_NODES if everyone else MY_NODES) if selection is None else selection
    ports: list[Port] = client.call("nodes", "get_ports", selection=chosen)
    ports.sort(key=lambda port: (port["network"], port["owner"], port["node"], port["interface"]))
    rows = ports if output in (JSON, YAML) else [flat(port) for port in ports]
    echo(
        rows,
        COLUMNS,
        output,
        "no ports: no nodes" + ("" if chosen != MY_NODES else " of yours; --all shows everybody's"),
    )


@network.command()
@click.argument("selection", metavar="NODE")
@click.argument("name", metavar="NETWORK")
@click.argument("options", metavar="[OPTION=VALUE]...", nargs=-1)
@click.option("--replace", is_flag=True, help="Of a plain link; without it, what is not given stays.")
@click.pass_obj
def link(client: Any, selection: str, name: str, options: Sequence[str], replace: bool) -> None:
    """Change the link of a node (or of a SET) to a network, at once.

    For instance: walt network link vnode1 home-net lat=20ms loss=1%
    """
    reply = client.call(
        "nodes", "link_nodes", selection=selection, network=name, options=list(options), replace=replace
    )
    for one in reply["nodes"]:
        say(f"{one['name']}: the link to {name} is {link_of(one['config']['networks'], name)}")
    for note in reply["notes"]:
        say(note)


def link_of(networks: str, name: str) -> str:
    """'walt-net,home-net[lat=10ms]', 'home-net' -> 'lat=10ms'"""
    use = next(one for one in settings.parse_networks(networks) if one.name == name)
    return links.format_link(use.link) or "plain"


def flat(port: Port) -> dict[str, Any]:
    """One row with a value per column; the delays are those of what the node sends, in microseconds."""
    counts = {f"{side}_{what}": port[side][what] for side in SIDES for what in TRAFFIC}
    sums: dict[str, int] = {what: port["up"][what] + port["down"][what] for what in TRAFFIC}
    delays = {"delay_us": _delay_us(port["asked"]), "applied_delay_us": _delay_us(port["applied"])}
    return {**port, **delays, **counts, **sums}


def _delay_us(link: str | None) -> int | None:
    return None if link is None else links.parse_options(LinkModel(), link.split(",") if link else []).up.latency_us


def _delay(key: str) -> Callable[[Row], str]:
    """Blank where no delay is asked, or the port is not there."""
    return lambda row: _latency(row[key]) if row["delay_us"] else ""


def _latency(latency_us: int | None) -> str:
    return "" if latency_us is None else units.format_latency(latency_us)


TRAFFIC: tuple[Literal["frames", "dropped", "late"], ...] = ("frames", "dropped", "late")
SIDES: tuple[Literal["up", "down"], ...] = ("up", "down")

COLUMNS = [
    Column("network"),
    Column("owner", wide=True),
    Column("node"),
    Column("interface"),
    Column("mac", wide=True),
    Column("backend"),
    Column("asked", "link", sparse=True),
    Column("delay_us", "delay", _delay("delay_us"), sparse=True),
    Column("applied_delay_us", "applied", _delay("applied_delay_us"), sparse=True),
    Column("measured_latency_us", "measured", lambda row: _latency(row["measured_latency_us"]), sparse=True),
    *(Column(what, "drops" if what == "dropped" else what) for what in TRAFFIC),
    *(Column(f"{side}_{what}", wide=True) for side in SIDES for what in TRAFFIC),
    Column("compensation_us", "platform", lambda row: _latency(row["compensation_us"]), wide=True),
    Column("state"),
]
