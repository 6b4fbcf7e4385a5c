"""`walt completion`: prints the script that makes a shell call `walt` for completions."""

from __future__ import annotations

import click

from ..completion import SHELLS


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for a shell: bash, zsh or fish.

    \b
    bash:  eval "$(walt completion bash)"      in ~/.bashrc
    zsh:   eval "$(walt completion zsh)"       in ~/.zshrc, after compinit
    fish:  walt completion fish | source       in ~/.config/fish/config.fish
    """
    from ..completion.scripts import script

    click.echo(script(shell))
