"""`walt image …`: the OS images that nodes can boot."""

from __future__ import annotations

import time
from typing import Any

import click

from cli.forms import Column, echo, output_option
from cli.output import age, size


@click.group()
def image() -> None:
    """The OS images that nodes can boot."""


@image.command()
@output_option
@click.pass_obj
def show(client: Any, output: str) -> None:
    """Show the platform's images and yours."""
    images = client.call("bootserver", "get_images")
    echo(images, image_columns(time.time()), output, "no images; their place is told by: walt doctor")


def image_columns(now: float) -> list[Column]:
    return [
        Column("name"),
        Column("owner", cell=lambda row: row["owner"] or "(platform)"),
        Column("created", cell=lambda row: f"{age(now - row['created'])} ago"),
        Column("size_bytes", "size", cell=lambda row: size(row["size_bytes"])),
        Column("kernel"),
    ]
