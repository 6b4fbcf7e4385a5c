"""`walt node …` for using a node: shell, run, console, ping, cp, expose. What they do is in modules of their own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.options import SECONDS, Between
from cli.output import say
from cli.waiting import Node, get_node, get_nodes, wait_until_booted
from services.contracts.errors import InvalidRequest
from services.contracts.vmrunner import BOOTED

BOOT_TIMEOUT_S = 300.0

boot_timeout_option = click.option(
    "--timeout", type=SECONDS, metavar="S", default=BOOT_TIMEOUT_S, show_default=True, help="Wait so long for its boot."
)


@click.command()
@click.argument("name", metavar="NODE")
@boot_timeout_option
@click.pass_obj
def shell(client: Any, name: str, timeout: float) -> int:
    """Log in to a node, once it is booted."""
    from cli.session import open_shell

    return open_shell(client, _booted(client, name, timeout))


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("selection", metavar="SET")
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@boot_timeout_option
@click.pass_obj
def run(client: Any, selection: str, command: Sequence[str], timeout: float) -> int:
    """Run a command on nodes, once they are booted.

    Options of walt come before SET. On one node: standard input is passed on, the exit status of the command is
    ours. On several, at once: no input; each line begins with the name of its node; the highest exit status is ours.

    The words are joined by spaces and read by the node's shell, as ssh does: quote twice what must stay one word.
    """
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise click.UsageError("there is no command after '--'")
    nodes = get_nodes(client, selection)
    if not nodes:
        raise InvalidRequest(f"'{selection}' stands for no node; allowed: at least one")
    _wait(client, nodes, timeout)
    if len(nodes) > 1:
        from cli.parallel import run_on_all

        return run_on_all(client, nodes, words)
    from cli.session import run_command

    return run_command(client, nodes[0], words)


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--read-only", is_flag=True, help="Only watch.")
@click.option("--log", is_flag=True, help="Print all that is kept of it, and end.")
@click.pass_obj
def console(client: Any, name: str, read_only: bool, log: bool) -> int:
    """The serial console of a node, from its power-on: ctrl-a d leaves.

    Without a terminal, bytes pass both ways and no key is special.
    """
    from cli.session import open_console, print_log

    node = get_node(client, name)
    return print_log(client, node) if log else open_console(client, node, read_only=read_only)


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--count", type=Between(1, 3600), default=10, show_default=True, help="How many times.")
@click.pass_obj
def ping(client: Any, name: str, count: int) -> int:
    """Ping a node from the server.

    The exit status is 0 when it answers, 1 when it does not.
    """
    from cli.session import ping

    return ping(client, get_node(client, name), count)


@click.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("target", metavar="DST")
@boot_timeout_option
@click.pass_obj
def cp(client: Any, sources: Sequence[str], target: str, timeout: float) -> None:
    """Copy files and directories to or from a node, once it is booted.

    One side is NODE:PATH; NODE: alone is the home of its root. A directory is copied with all it contains, into DST
    when that is a directory, else under the name DST. A file of this computer with ':' in its name is './a:b'.
    """
    from cli import copying

    copy = copying.parse_copy(sources, target)
    copying.check_here(copy)
    nodes = [get_node(client, one) for one in copy.nodes]
    _wait(client, nodes, timeout)
    copying.run(client, copy, nodes)


@click.command()
@click.argument("name", metavar="NODE")
@click.argument("node_port", metavar="NPORT", type=Between(1, 65535))
@click.argument("local_port", metavar="LPORT", type=Between(0, 65535))
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.pass_obj
def expose(client: Any, name: str, node_port: int, local_port: int, bind: str) -> None:
    """Make a TCP port of a node one of this computer.

    NPORT of the node is LPORT here, until ctrl-c. LPORT 0: any that is free.
    """
    from cli.expose import expose

    expose(client, get_node(client, name), node_port, bind, local_port)


COMMANDS = (shell, run, console, ping, cp, expose)


def _booted(client: Any, name: str, timeout_s: float) -> Node:
    one = get_node(client, name)
    _wait(client, [one], timeout_s)
    return one


def _wait(client: Any, nodes: Sequence[Node], timeout_s: float) -> None:
    """For one's own; another's is not waited for, since the server refuses its session at once."""
    own = [one for one in nodes if one["owner"] == client.configuration.user]
    missing = [one["name"] for one in own if one["state"] != BOOTED]
    if missing:
        if sys.stderr.isatty():
            say(f"waiting for {', '.join(missing)} to be booted; ctrl-c ends the wait")
        wait_until_booted(client, own, timeout_s)
