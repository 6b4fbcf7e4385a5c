"""`walt node save`: turns the changes that a node made to its image into an image of the user's own."""

from __future__ import annotations

from typing import Any

import click

from walt.client import Client
from walt.contracts.bootserver import ImageChanged

from ..ui.confirm import confirm_force
from ..ui.image_report import report_consequences
from ..ui.messages import print_message


@click.command()
@click.argument("name", metavar="NODE")
@click.argument("image", metavar="NEW_IMAGE")
@click.option("--force", is_flag=True, help="Replace the image that you have under this name.")
@click.pass_obj
def save(client: Client, name: str, image: str, force: bool) -> None:
    """Save the system of a node as a new OS image of yours."""
    save_node(client, name, image, force)


def save_node(client: Client, name: str, image: str, force: bool) -> None:
    def start_and_follow(forced: bool) -> ImageChanged:
        from ..transfer.image_transfer import follow_job

        job: Any = client.call("bootserver", "save_image", node=name, name=image, force=forced)
        return follow_job(client, job, f"saving {name} as {image}")

    changed = confirm_force(start_and_follow, force)
    print_message(f"{changed.image.name}: saved from {name}")
    report_consequences(client, changed, except_node=name)
