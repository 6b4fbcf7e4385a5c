"""`walt node …` that use a node: shell, run, console, ping, cp, expose. `sessions` and `transfer` do the work."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from walt.client import Client
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import NodeView
from walt.contracts.vmrunner import BOOTED

from ..ui.messages import print_message
from ..ui.options import SECONDS, Between, node_set
from ..ui.wait import get_node, get_nodes, wait_until_booted

BOOT_TIMEOUT_S = 300.0

boot_timeout_option = click.option(
    "--timeout",
    type=SECONDS,
    metavar="S",
    default=BOOT_TIMEOUT_S,
    show_default=True,
    help="How long to wait for its boot.",
)


@click.command()
@click.argument("name", metavar="NODE")
@boot_timeout_option
@click.pass_obj
def shell(client: Client, name: str, timeout: float) -> int:
    """Log in to a node, once it is booted."""
    from ..sessions.interactive import open_shell

    return open_shell(client, _booted(client, name, timeout))


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("selection", metavar="SET")
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-n", "--no-input", is_flag=True, help="Leave standard input alone; the command gets none.")
@boot_timeout_option
@click.pass_obj
def run(client: Client, selection: str, command: Sequence[str], no_input: bool, timeout: float) -> int:
    """Run a command on nodes, once they are booted.

    Options of walt come before SET. On one node, standard input is passed on and walt exits with the status of the
    command. On several, it runs on all at once without input; each line of output begins with the name of its node, and
    walt exits with the highest status.

    In a shell loop that reads standard input ('while read'), use -n: otherwise the command gets the rest of it.

    The arguments are joined by spaces and parsed by the node's shell, as with ssh: quote twice what must stay one
    argument.
    """
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise click.UsageError("there is no command after '--'")
    nodes = get_nodes(client, node_set(selection))
    if not nodes:
        raise InvalidRequest(f"'{selection}' matches no node; allowed: at least one")
    _wait(client, nodes, timeout)
    if len(nodes) > 1:
        from ..sessions.parallel import run_on_all

        return run_on_all(client, nodes, argv)
    from ..sessions.interactive import run_command

    return run_command(client, nodes[0], argv, has_input=not no_input)


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--read-only", is_flag=True, help="Only watch.")
@click.option("--log", is_flag=True, help="Print all that is recorded of it, and exit.")
@click.pass_obj
def console(client: Client, name: str, read_only: bool, log: bool) -> int:
    """Open the serial console of a node; ctrl-a d leaves it.

    It shows what the node has printed since its last power-on, and goes on from there.

    Without a terminal, all bytes are passed on both ways, and no key is special.
    """
    from ..sessions.interactive import open_console, print_recording

    node = get_node(client, name)
    return print_recording(client, node) if log else open_console(client, node, read_only=read_only)


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--count", type=Between(1, 3600), default=10, show_default=True, help="How many packets to send.")
@click.pass_obj
def ping(client: Client, name: str, count: int) -> int:
    """Ping a node from the server.

    The exit code is 0 when it answers, 1 when it does not.
    """
    from ..sessions.interactive import ping

    return ping(client, get_node(client, name), count)


@click.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("target", metavar="DST")
@boot_timeout_option
@click.pass_obj
def cp(client: Client, sources: Sequence[str], target: str, timeout: float) -> None:
    """Copy files and directories to or from a node, once it is booted.

    One side is NODE:PATH; NODE: alone is the home directory of root. A directory is copied with its contents: into DST
    if that is a directory, else under the name DST. Write a file of this computer with ':' in its name as './a:b'.
    """
    from ..transfer import copy_request, node_copy

    request = node_copy.parse_request(sources, target)
    copy_request.check_local_paths(request)
    nodes = [get_node(client, one) for one in request.nodes]
    _wait(client, nodes, timeout)
    node_copy.run(client, request, nodes)


@click.command()
@click.argument("name", metavar="NODE")
@click.argument("node_port", metavar="NPORT", type=Between(1, 65535))
@click.argument("local_port", metavar="LPORT", type=Between(0, 65535))
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.pass_obj
def expose(client: Client, name: str, node_port: int, local_port: int, bind: str) -> None:
    """Forward a TCP port of this computer to a node.

    Connections to LPORT here reach NPORT of the node, until ctrl-c. LPORT 0 stands for any free port.
    """
    from ..sessions.expose import expose

    expose(client, get_node(client, name), node_port, bind, local_port)


COMMANDS = (shell, run, console, ping, cp, expose)


def _booted(client: Client, name: str, timeout_s: float) -> NodeView:
    node = get_node(client, name)
    _wait(client, [node], timeout_s)
    return node


def _wait(client: Client, nodes: Sequence[NodeView], timeout_s: float) -> None:
    """Wait for the user's own nodes only: a session on another's is refused, booted or not."""
    own = [one for one in nodes if one.owner == client.configuration.user]
    missing = [one.name for one in own if one.state != BOOTED]
    if missing:
        if sys.stderr.isatty():
            print_message(f"waiting for {', '.join(missing)} to be booted; ctrl-c ends the wait")
        wait_until_booted(client, own, timeout_s)
