"""`walt registry …`: what an administrator decides about the database of the platform."""

from __future__ import annotations

import click

from walt.client import Client

from ..ui.messages import print_message


@click.group()
def registry() -> None:
    """Decide about the registry, the database of all nodes.

    Requires an administrator.
    """


@registry.command()
@click.pass_obj
def accept(client: Client) -> None:
    """Go on with this registry, older than the hosts know.

    After a backup was restored, the hosts know nodes and changes that the registry does not. Nothing is changed or
    removed until the newer database is put back, or this command says that the restored one is right. Then nodes that
    it does not know are removed with their disks.
    """
    agents = client.call("nodes", "accept_registry")
    print_message(f"this registry is obeyed now by: {', '.join(agents)}")
