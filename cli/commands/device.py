"""`walt device …`: a node is also called a device, so these commands have both names."""

from __future__ import annotations

import click

from .node import config, show


@click.group()
def device() -> None:
    """Show and configure devices: the nodes, see 'walt node'."""


device.add_command(show)
device.add_command(config)
