"""`walt image …`: the OS images that nodes can boot."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from cli.asking import insist
from cli.forms import Column, echo, output_option
from cli.output import age, say
from services.contracts import units
from services.contracts.bootserver import BUILD, IMPORT
from services.contracts.errors import InvalidRequest, NotFound

COPY_TIMEOUT_S = 120.0  # of an image of the platform
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

replace_option = click.option("--force", is_flag=True, help="In place of the image that you have under this name.")
image_argument = click.argument("name", metavar="IMAGE")


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


@image.command("import")
@click.argument("source", metavar="SOURCE", type=click.Path())
@click.argument("name", metavar="[NEW_IMAGE]", default="")
@replace_option
@click.pass_obj
def import_(client: Any, source: str, name: str, force: bool) -> None:
    """Make an image of a root file system.

    SOURCE is a tar or a directory of this computer, else an image of the server's Docker Engine, IMAGE[:TAG].
    What it lacks to be a node's (kernel, init, ssh server) is the platform's.
    """
    if os.path.exists(source):
        what = {"purpose": IMPORT, "image": name or name_of_file(source)}
        insist_on_new(client, lambda forced: _send(client, source, force=forced, **what), force)
        return
    if source.startswith((".", "/", "~")) or source.endswith(TAR_SUFFIXES):
        raise NotFound(f"there is no file '{source}' on this computer")

    def order(forced: bool) -> Any:
        from cli.transfer import follow

        job = client.call("bootserver", "import_image", reference=source, name=name, force=forced)
        return follow(client, job, f"importing {source}")

    insist_on_new(client, order, force)


@image.command()
@click.argument("folder", metavar="DIR", type=click.Path())
@click.argument("name", metavar="NEW_IMAGE")
@replace_option
@click.pass_obj
def build(client: Any, folder: str, name: str, force: bool) -> None:
    """Build an image by the Dockerfile in a directory of this computer."""
    if not os.path.exists(os.path.join(folder, "Dockerfile")):
        raise NotFound(f"there is no Dockerfile in '{folder}'")
    what = {"purpose": BUILD, "image": name}
    insist_on_new(client, lambda forced: _send(client, folder, force=forced, **what), force)


@image.command()
@image_argument
@click.argument("new_name", metavar="NEW_IMAGE")
@replace_option
@click.pass_obj
def clone(client: Any, name: str, new_name: str, force: bool) -> None:
    """Make an image of yours that is the same as another."""

    def order(forced: bool) -> Any:
        what = {"image": name, "name": new_name, "force": forced}
        return client.call("bootserver", "clone_image", timeout_s=COPY_TIMEOUT_S, **what)

    insist_on_new(client, order, force)


@image.command()
@image_argument
@click.argument("new_name", metavar="NEW_IMAGE")
@click.pass_obj
def rename(client: Any, name: str, new_name: str) -> None:
    """Give an image of yours another name."""
    changed = client.call("bootserver", "rename_image", image=name, name=new_name)
    say(f"{changed['image']['name']}: was {name}")


@image.command()
@image_argument
@click.option("--force", is_flag=True, help="Without asking.")
@click.pass_obj
def remove(client: Any, name: str, force: bool) -> None:
    """Remove an image of yours that no node uses."""
    insist(lambda forced: client.call("bootserver", "remove_image", image=name, force=forced), force)
    say(f"{name}: removed")


@image.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("target", metavar="DST")
@click.pass_obj
def cp(client: Any, sources: Sequence[str], target: str) -> None:
    """Copy files into an image of yours, or out of an image.

    One side is IMAGE:PATH. A directory is copied with all it contains, into DST when that is a directory, else under the
    name DST. A file of this computer with ':' in its name is './a:b'.
    """
    from cli import image_copying

    changed = image_copying.run(client, image_copying.parse(sources, target))
    if changed:
        tell(client, changed)


@image.command()
@image_argument
@click.argument("new_name", metavar="[NEW_IMAGE]", default="")
@click.option("--save/--discard", default=None, help="What becomes of the changes, without asking.")
@click.pass_obj
def shell(client: Any, name: str, new_name: str, save: bool | None) -> int:
    """Log in to an image, to change it, or to make NEW_IMAGE of it.

    It runs in a node made for that, with the internet if the platform's nodes have it, and removed at the end.
    """
    from cli.image_shell import run

    if save is None and not sys.stdin.isatty():
        raise InvalidRequest("what becomes of the changes cannot be asked; allowed: --save or --discard")
    return run(client, name, new_name, save)


def insist_on_new(client: Any, order: Any, force: bool) -> None:
    tell(client, insist(order, force))


def tell(client: Any, changed: dict[str, Any]) -> None:
    """What has become of an image."""
    image = changed["image"]
    say(f"{image['name']}: {units.format_size(image['size_bytes'])}, kernel {image['kernel']}")
    tell_rest(client, changed)


def tell_rest(client: Any, changed: dict[str, Any], but: str = "") -> None:
    """What is to be noted; a person is asked whether the nodes that boot the image shall see it, `but` one that does."""
    for note in changed["notes"]:
        say(f"{changed['image']['name']}: {note}")
    nodes = ",".join(node for node in changed["used_by"] if node != but)
    if not nodes:
        return
    if sys.stdin.isatty() and click.confirm(f"{nodes} use it as it was: reboot them?", default=False, err=True):
        client.call("nodes", "reboot_nodes", selection=nodes)
        say(f"{nodes}: rebooting")
    else:
        say(f"{nodes} use it as it was until: walt node reboot {nodes}")


def name_of_file(path: str) -> str:
    """'exp/Rootfs.tar.gz' -> 'rootfs'. Pure."""
    name = os.path.basename(os.path.abspath(path)).lower()
    return next((name.removesuffix(suffix) for suffix in TAR_SUFFIXES if name.endswith(suffix)), name)


def image_columns(now: float) -> list[Column]:
    return [
        Column("name"),
        Column("owner", cell=lambda row: row["owner"] or "(platform)"),
        Column("created", cell=lambda row: f"{age(now - row['created'])} ago"),
        Column("size_bytes", "size", cell=lambda row: units.format_size(row["size_bytes"])),
        Column("kernel"),
    ]


def _send(client: Any, path: str, **what: Any) -> Any:
    from cli.image_copying import send_whole

    return send_whole(client, path, **what)
