"""`walt node save`: what a node has changed of its image becomes an image of one's own."""

from __future__ import annotations

from typing import Any

import click

from cli.asking import insist
from cli.image import tell_rest
from cli.output import say


@click.command()
@click.argument("name", metavar="NODE")
@click.argument("image", metavar="NEW_IMAGE")
@click.option("--force", is_flag=True, help="In place of the image that you have under this name.")
@click.pass_obj
def save(client: Any, name: str, image: str, force: bool) -> None:
    """Save the system of a node as a new OS image of yours."""

    save_node(client, name, image, force)


def save_node(client: Any, name: str, image: str, force: bool) -> None:
    def order(forced: bool) -> Any:
        from cli.transfer import follow

        job = client.call("bootserver", "save_image", node=name, name=image, force=forced)
        return follow(client, job, f"saving {name} as {image}")

    changed = insist(order, force)
    say(f"{changed['image']['name']}: saved from {name}")
    tell_rest(client, changed, but=name)
