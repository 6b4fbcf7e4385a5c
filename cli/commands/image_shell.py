"""`walt image shell`: changes an image from inside, in a temporary node, which is saved and removed at the end.

A node, not a container on the server, so that the user is root of nothing but that node. When the changes cannot be
saved, the node is kept.
"""

from __future__ import annotations

import secrets

from walt.client import Client
from walt.contracts.bootserver import ImageView
from walt.contracts.errors import Denied, NotFound
from walt.replies import read

from ..sessions.interactive import open_shell
from ..ui.messages import ask, print_message
from ..ui.wait import get_node, get_nodes, wait_until_booted
from .node_save import save_node
from .node_use import BOOT_TIMEOUT_S

SETTINGS = ("boot.delay=0", "netsetup=NAT")


def run(client: Client, image: str, new_name: str, save: bool | None) -> int:
    """The exit status of the shell. save: whether to save the changes; None: ask."""
    target = new_name or _own_image(client, image)
    node = f"shell-{secrets.token_hex(3)}"
    client.call("nodes", "create_nodes", names=[node], settings=list(SETTINGS), image=image)
    is_kept = False
    try:
        print_message(f"{image}: booting in {node}")
        wait_until_booted(client, get_nodes(client, node), BOOT_TIMEOUT_S)
        status = open_shell(client, get_node(client, node))
        if save is None:
            save = ask(f"Save the changes as {target}?", default=True)
        if save:
            is_kept = True
            save_node(client, node, target, force=not new_name)
            is_kept = False
        return status
    finally:
        if is_kept:
            print_message(f"{node} has the changes: walt node save {node} IMAGE, then walt node remove {node}")
        else:
            client.call("nodes", "remove_nodes", selection=node, force=True)


def _own_image(client: Client, image: str) -> str:
    """The full name of an image that the user may replace; refused before a node is created for nothing."""
    images = read(list[ImageView], client.call("bootserver", "get_images"))
    names = {one.name: one.owner for one in images}
    mine = next((name for name, owner in names.items() if owner and image in (name, name.rpartition("/")[2])), None)
    if mine is not None:
        return mine
    if image in names:
        raise Denied(f"'{image}' belongs to the platform; allowed: another name: walt image shell {image} NEW_IMAGE")
    raise NotFound(f"there is no image '{image}'; there are: {', '.join(names)}")
