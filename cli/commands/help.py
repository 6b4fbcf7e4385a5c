"""`walt help`: explains a topic rather than one command."""

from __future__ import annotations

import click

from ..topics import overview, text_of


@click.command("help")
@click.argument("topic", metavar="[TOPIC]", required=False)
def help_command(topic: str | None) -> None:
    """Explain a topic; without TOPIC, list them.

    Each command is explained by its own --help.
    """
    click.echo(text_of(topic) if topic else overview(), nl=False)
