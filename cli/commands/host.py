"""`walt host …`: the servers that run nodes."""

from __future__ import annotations

import ipaddress
import time
from typing import Any

import click

from walt.client import Client
from walt.configuration import Configuration
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.host_token import HostToken, encode
from walt.contracts.hosts import UNREACHABLE, HostAccess, HostEvacuation, HostView
from walt.contracts.units import format_size
from walt.replies import read

from ..ui.messages import age, print_message
from ..ui.tables import Column, Row, echo, echo_data, output_option

LOOK_S = 2.0


@click.group()
def host() -> None:
    """Show and manage the hosts: the servers that run the nodes.

    A host is there when its agents have announced themselves. To change one requires an administrator.
    """


@host.command("list")
@output_option
@click.pass_obj
def list_hosts(client: Client, output: str) -> None:
    """Show all hosts."""
    _echo(client.call("nodes", "get_hosts"), output)


@host.command()
@click.argument("name", metavar="HOST")
@output_option
@click.pass_obj
def show(client: Client, name: str, output: str) -> None:
    """Show one host."""
    _echo(client.call("nodes", "get_hosts", name=name), output)


@host.command()
@click.argument("name", metavar="HOST")
@click.option("--move", is_flag=True, help="Stop its nodes too, and move them with their disks to other hosts.")
@click.pass_obj
def drain(client: Client, name: str, move: bool) -> None:
    """Let no new node go to a host. Its nodes stay, and run on.

    With --move they go to the hosts that have room, each with its disks, and boot there. It returns once all have come;
    to end it before that stops no move.
    """
    (view,) = read(list[HostView], client.call("nodes", "drain_host", name=name))
    print_message(f"{view.name}: no new node goes there; it has {view.nodes} nodes")
    if move:
        _move_nodes(client, name)


@host.command()
@click.argument("name", metavar="HOST")
@click.pass_obj
def undrain(client: Client, name: str) -> None:
    """Let new nodes go to a host again."""
    client.call("nodes", "drain_host", name=name, undo=True)
    print_message(f"{name}: new nodes may go there")


@host.command()
@click.argument("name", metavar="NAME")
@click.pass_obj
def token(client: Client, name: str) -> None:
    """Print the token with which a further server joins as this host.

    It holds a password for the agents of that host alone, and the way to the broker, which is that of your client.toml.
    It is shown only once; a new one ends the one before.
    """
    broker = client.configuration
    _check_way(broker)
    access = read(HostAccess, client.call("nodes", "admit_host", name=name))
    uri = broker.uri_of(access.account, access.password)
    echo_data(encode(HostToken(access.host, uri, access.server, access.subnet)))
    print_message(f"{name}: whoever has this token can be its agents; 'walt host remove {name}' ends that")


@host.command()
@click.argument("name", metavar="HOST")
@click.pass_obj
def remove(client: Client, name: str) -> None:
    """Forget a host that has no nodes.

    Its token is of no use any more. A host without one is removed once its agents are stopped.
    """
    client.call("nodes", "remove_host", name=name)
    print_message(f"{name}: removed")


def _move_nodes(client: Client, name: str) -> None:
    plan = read(HostEvacuation, client.call("nodes", "evacuate_host", name=name, dry_run=True))
    for move in plan.moves:
        print_message(f"{move.node}: goes to host {move.host}")
    for one in plan.stuck:
        print_message(f"{one.node}: stays, as {one.why}")
    done = read(HostEvacuation, client.call("nodes", "evacuate_host", name=name))
    while True:
        (view,) = read(list[HostView], client.call("nodes", "get_hosts", name=name))
        if not view.leaving and view.nodes <= len(done.stuck):
            break
        time.sleep(LOOK_S)
    print_message(f"{name}: {len(done.moves)} nodes have gone with their disks, {len(done.stuck)} stay")
    if done.stuck:
        raise Conflict(f"host {name} is not empty: {', '.join(one.node for one in done.stuck)}")


def _check_way(broker: Configuration) -> None:
    """Whether the agents of another server can take this way to the broker, too."""
    if broker.tls:
        raise InvalidRequest(
            "your client.toml has the broker by TLS, which agents do not speak; "
            "allowed: amqp://, over a wire that is the hosts' alone (WALT_AMQP_TLS=off)"
        )
    if _is_loopback(broker.host):
        raise InvalidRequest(
            f"your client.toml has the broker at {broker.host}, which is this computer for each that reads it; "
            "allowed: an address that the other server reaches (WALT_AMQP_BIND and WALT_PUBLIC_NAME)"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _echo(rows: list[dict[str, Any]], output: str) -> None:
    echo(rows, _columns(time.time()), output, "no hosts")


def _columns(now: float) -> list[Column]:
    return [
        Column("name"),
        Column("state", cell=lambda row: _state(row, now)),
        Column("nodes"),
        Column("leaving", cell=lambda row: str(row.get("leaving") or ""), sparse=True),
        Column("promised_bytes", "promised", cell=_promised),
        Column("capacity", "cores", cell=lambda row: str((row["capacity"] or {}).get("cpu_cores", "?"))),
        Column("underlay", sparse=True),
        Column("ip"),
        Column("version", wide=True),
    ]


def _state(row: Row, now: float) -> str:
    since = f" {age(now - row['since'])}" if row["state"] == UNREACHABLE else ""
    marks = [mark for mark, is_set in (("drained", row["is_drained"]), ("server", row["is_server"])) if is_set]
    return str(row["state"]) + since + (f" ({', '.join(marks)})" if marks else "")


def _promised(row: Row) -> str:
    """'1G of 24G', the memory of its nodes that are on and of the host."""
    capacity = row["capacity"]
    return format_size(row["promised_bytes"]) + (f" of {format_size(capacity['ram_bytes'])}" if capacity else "")
