"""`walt completion`: the script that makes a shell ask `walt` for its words. How it asks is in `shells`."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_WALT_COMPLETE"  # set by the script: "bash_complete", …


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell: bash, zsh or fish.

    \b
    bash:  eval "$(walt completion bash)"      in ~/.bashrc
    zsh:   eval "$(walt completion zsh)"       in ~/.zshrc, after compinit
    fish:  walt completion fish | source       in ~/.config/fish/config.fish
    """
    from cli.shells import script

    click.echo(script(shell))
