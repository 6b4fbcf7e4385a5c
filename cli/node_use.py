"""`walt node …` for using a node: shell, run, console. What they do is in `session`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.options import SECONDS
from cli.output import say
from cli.waiting import Node, get_node, wait_until_booted

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
@click.argument("name", metavar="NODE")
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@boot_timeout_option
@click.pass_obj
def run(client: Any, name: str, command: Sequence[str], timeout: float) -> int:
    """Run a command on a node, once it is booted; its exit status is ours.

    Options of walt come before NODE. Standard input is passed on.
    """
    from cli.session import run_command

    words = command[1:] if command[0] == "--" else command
    if not words:
        raise click.UsageError("there is no command after '--'")
    return run_command(client, _booted(client, name, timeout), words)


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--read-only", is_flag=True, help="Only watch.")
@click.option("--no-follow", is_flag=True, help="Print what there is so far, and end.")
@click.pass_obj
def console(client: Any, name: str, read_only: bool, no_follow: bool) -> int:
    """The serial console of a node, from its power-on: ctrl-a d leaves.

    Without a terminal, bytes pass both ways and no key is special.
    """
    from cli.session import open_console

    return open_console(client, get_node(client, name), read_only=read_only or no_follow, follow=not no_follow)


COMMANDS = (shell, run, console)


def _booted(client: Any, name: str, timeout_s: float) -> Node:
    one = get_node(client, name)
    if one["state"] != "booted":
        if sys.stderr.isatty():
            say(f"waiting for {one['name']} to be booted; ctrl-c ends")
        wait_until_booted(client, [one], timeout_s)
    return one
