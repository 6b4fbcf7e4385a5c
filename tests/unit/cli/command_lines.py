"""Whether a command line that some text shows is one that `walt` takes."""

import shlex

import click

from cli.tree import walt


def words_of(line):
    """A shown line, without its comment: after '#', or after a gap of blanks."""
    return shlex.split(line.strip().split("   ")[0], comments=True)


def check(line, complete=True):
    """Fails with click's own sentence. complete: with its arguments."""
    program, *words = words_of(line)
    assert program in ("walt", ".venv/bin/walt")
    command: click.Command = walt
    context = click.Context(walt, info_name="walt")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, command, words = command.resolve_command(context, words)
        assert command is not None, name
        context = click.Context(command, info_name=name, parent=context)
    if complete and words != ["--version"]:
        command.make_context(command.name, words)
