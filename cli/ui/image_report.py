"""What commands print about an image that they have changed."""

from __future__ import annotations

import sys

from walt.client import Client
from walt.contracts import units
from walt.contracts.bootserver import ImageChanged

from .messages import ask, print_message


def report_image(client: Client, changed: ImageChanged) -> None:
    """The image as it is now, then its consequences."""
    image = changed.image
    print_message(f"{image.name}: {units.format_size(image.size_bytes)}, kernel {image.kernel}")
    report_consequences(client, changed)


def report_consequences(client: Client, changed: ImageChanged, except_node: str = "") -> None:
    """Print the notes; name the nodes that still run the former image, and at a terminal offer to reboot them.

    except_node: one that has the new content already.
    """
    for note in changed.notes:
        print_message(f"{changed.image.name}: {note}")
    nodes = ",".join(node for node in changed.used_by if node != except_node)
    if not nodes:
        return
    if sys.stdin.isatty() and ask(f"{nodes} still use the former image: reboot?", default=False):
        client.call("nodes", "reboot_nodes", selection=nodes)
        print_message(f"{nodes}: rebooting")
    else:
        print_message(f"{nodes} use the former image until: walt node reboot {nodes}")
