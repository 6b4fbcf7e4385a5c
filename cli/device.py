"""`walt device …`: a node is a device, and these commands of nodes are known under both names."""

from __future__ import annotations

import click

from cli.node import config, show


@click.group()
def device() -> None:
    """Show and configure devices: the nodes, see 'walt node'."""


device.add_command(show)
device.add_command(config)
