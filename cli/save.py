"""`walt node save`: what a node has changed of its image becomes an image of one's own."""

from __future__ import annotations

from typing import Any

import click

from cli.asking import insist
from cli.output import Progress, say

SAVE_TIMEOUT_S = 600.0


@click.command()
@click.argument("name", metavar="NODE")
@click.argument("image", metavar="NEW_IMAGE")
@click.option("--force", is_flag=True, help="In place of the image that you have under this name.")
@click.pass_obj
def save(client: Any, name: str, image: str, force: bool) -> None:
    """Save the system of a node as a new OS image of yours, which nodes can boot."""

    save_node(client, name, image, force)


def save_node(client: Any, name: str, image: str, force: bool) -> None:
    def order(forced: bool) -> Any:
        progress = Progress()
        progress.show(f"saving {name} as {image}; this may take minutes")
        try:
            what = {"node": name, "name": image, "force": forced}
            return client.call("bootserver", "save_image", timeout_s=SAVE_TIMEOUT_S, **what)
        finally:
            progress.clear()

    saved = insist(order, force)
    say(f"{saved['name']}: saved from {name}")
