"""The command tree, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import os
from typing import Any

import click

from cli.completion import completion
from cli.device import device
from cli.doctor import doctor
from cli.help import help_command
from cli.image import image
from cli.log import log
from cli.network import network
from cli.node import node
from cli.output import say
from cli.user import user
from services.contracts.errors import EXIT_INTERRUPTED, EXIT_USAGE, WaltError

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from importlib import metadata

    try:
        version = metadata.version("walt-vnodes")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    click.echo(f"walt {version}")
    context.exit()


@click.group(context_settings=SETTINGS)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def walt() -> None:
    """Virtual nodes for network experiments.

    A newcomer's start: walt node create vnode1 --wait, then walt node shell vnode1.

    What is worth knowing beside the commands: walt help
    """


for _command in (node, device, network, image, log, user, doctor, help_command, completion):
    walt.add_command(_command)


def run(arguments: list[str], client: Any) -> int:
    """One command line; its exit code."""
    try:
        # Not walt.main(): it would print an empty line of its own at ctrl-c.
        with walt.make_context("walt", list(arguments), obj=client) as context:
            result = walt.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        message = error.format_message().replace("\n\t", " ")  # click puts a list of choices on lines of its own
        say(f"walt: {message}{_allowed(error)}")
        path = error.ctx.command_path if error.ctx else "walt"
        say(f"'{path} --help' tells more")
        return EXIT_USAGE
    except click.ClickException as error:
        say(f"walt: {error.format_message()}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("walt: interrupted")
        return EXIT_INTERRUPTED
    except WaltError as error:
        for sentence in error.args or (type(error).__name__,):
            say(f"walt: {sentence}")
        return error.exit_code


def _allowed(error: click.UsageError) -> str:
    """All words that exist, where click knows none near the one that was given."""
    command = error.ctx.command if error.ctx else None
    if getattr(error, "possibilities", None) or command is None:
        return ""
    if isinstance(error, click.exceptions.NoSuchCommand) and isinstance(command, click.Group):
        return f" Allowed: {', '.join(sorted(command.commands))}"
    if isinstance(error, click.exceptions.NoSuchOption) and error.ctx:
        return f" Allowed: {', '.join(one.opts[-1] for one in command.get_params(error.ctx) if one.opts[-1][0] == '-')}"
    return ""


def unexpected(error: Exception) -> int:
    if os.environ.get("WALT_DEBUG") == "1":
        raise error
    say(f"walt: unexpected {type(error).__name__}: {error} (WALT_DEBUG=1 shows where)")
    return 1
