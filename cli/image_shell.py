"""`walt image shell`: an image is changed from inside, in a node made for that, which is saved and removed at the end.

A machine of its own, and not a container of the server: there a user is root of nothing else. What was changed is not lost
when it cannot be saved: then the node stays.
"""

from __future__ import annotations

import secrets
from typing import Any

import click

from cli.node_use import BOOT_TIMEOUT_S
from cli.output import say
from cli.save import save_node
from cli.session import open_shell
from cli.waiting import get_node, get_nodes, wait_until_booted
from services.contracts.errors import Denied, NotFound

SETTINGS = ("boot.delay=0", "netsetup=NAT")


def run(client: Any, image: str, new_name: str, save: bool | None) -> int:
    """save None: ask."""
    target = new_name or _own(client, image)
    node = f"shell-{secrets.token_hex(3)}"
    client.call("nodes", "create_nodes", names=[node], settings=list(SETTINGS), image=image)
    is_kept = False
    try:
        say(f"{image}: booting it in {node}")
        wait_until_booted(client, get_nodes(client, node), BOOT_TIMEOUT_S)
        status = open_shell(client, get_node(client, node))
        if save is None:
            save = click.confirm(f"Save what was changed as {target}?", default=True, err=True)
        if save:
            is_kept = True
            save_node(client, node, target, force=not new_name)
            is_kept = False
        return status
    finally:
        if is_kept:
            say(f"{node} has what was changed: walt node save {node} IMAGE, then walt node remove {node}")
        else:
            client.call("nodes", "remove_nodes", selection=node, force=True)


def _own(client: Any, image: str) -> str:
    """The image that would be saved again: refused before a node is made for nothing."""
    names: dict[str, str] = {one["name"]: one["owner"] for one in client.call("bootserver", "get_images")}
    mine = next((name for name, owner in names.items() if owner and image in (name, name.rpartition("/")[2])), None)
    if mine is not None:
        return mine
    if image in names:
        raise Denied(f"'{image}' is the platform's; allowed: to make another of it: walt image shell {image} NEW_IMAGE")
    raise NotFound(f"there is no image '{image}'; there are: {', '.join(names)}")
