"""The command tree, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os

import click

from walt.client import Client
from walt.contracts.errors import EXIT_INTERRUPTED, EXIT_USAGE, WaltError

from .commands.completion import completion
from .commands.device import device
from .commands.doctor import doctor
from .commands.help import help_command
from .commands.host import host
from .commands.image import image
from .commands.lab import lab
from .commands.log import log
from .commands.network import network
from .commands.node import node
from .commands.registry import registry
from .commands.trash import trash
from .commands.user import user
from .ui.messages import counted, print_message

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

    To begin: walt node create vnode1 --wait, then walt node shell vnode1.

    Topics beyond single commands are explained by: walt help
    """


for _command in (
    node, device, network, lab, image, log, host, user, registry, trash, doctor, help_command, completion
):  # fmt: skip
    walt.add_command(_command)


def run(arguments: list[str], client: Client) -> int:
    """Execute one command line; its exit code."""
    try:
        # Not walt.main(), which prints an empty line at ctrl-c.
        with walt.make_context("walt", list(arguments), obj=client) as context:
            result = walt.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        message = error.format_message().replace("\n\t", " ")  # click prints each choice on its own line
        print_message(f"walt: {message}{_allowed(error)}")
        path = error.ctx.command_path if error.ctx else "walt"
        print_message(f"'{path} --help' explains it")
        return EXIT_USAGE
    except click.ClickException as error:
        print_message(f"walt: {error.format_message()}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print_message("walt: interrupted")
        return EXIT_INTERRUPTED
    except WaltError as error:
        for sentence in counted(error.args or (type(error).__name__,)):
            print_message(f"walt: {sentence}")
        return error.exit_code


def _allowed(error: click.UsageError) -> str:
    """What exists, where click has no suggestion that is near what was given."""
    command = error.ctx.command if error.ctx else None
    if getattr(error, "possibilities", None) or command is None:
        return ""
    if isinstance(error, click.exceptions.NoSuchCommand) and isinstance(command, click.Group):
        return f" Allowed: {', '.join(sorted(command.commands))}"
    if isinstance(error, click.exceptions.NoSuchOption) and error.ctx:
        return f" Allowed: {', '.join(one.opts[-1] for one in command.get_params(error.ctx) if one.opts[-1][0] == '-')}"
    if "extra argument" in error.message and any(one.metavar == "SET" for one in command.params):
        return "; several nodes are separated by commas here: vnode1,vnode2"
    return ""


def unexpected(error: Exception) -> int:
    if os.environ.get("WALT_DEBUG") == "1":
        raise error
    print_message(f"walt: unexpected {type(error).__name__}: {error} (WALT_DEBUG=1 shows where)")
    return 1
