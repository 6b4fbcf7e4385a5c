"""`walt image …`: the OS images that nodes can boot."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

import click

from walt.client import Client
from walt.contracts import units
from walt.contracts.bootserver import BUILD, IMPORT, NO_KERNEL, ImageChanged
from walt.contracts.errors import InvalidRequest, NotFound
from walt.replies import read

from ..ui.confirm import confirm_force
from ..ui.image_report import report_image
from ..ui.messages import age, print_message
from ..ui.tables import TABLE, WIDE, Column, Row, echo, output_option

CLONE_TIMEOUT_S = 120.0  # of a large image of the platform
IN_NO_DEBIAN = {"hsr"}  # of what `walt image show` calls lacking; all else is in Debian's full kernel
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

replace_option = click.option("--force", is_flag=True, help="Replace the image that you have under this name.")
image_argument = click.argument("name", metavar="IMAGE")


@click.group()
def image() -> None:
    """The OS images that nodes can boot."""


@image.command()
@click.option("--former", is_flag=True, help="Show the images of former users instead, for administrators.")
@output_option
@click.pass_obj
def show(client: Client, former: bool, output: str) -> None:
    """Show the platform's images and yours, with the kernel of each.

    Column "lacks": modules of the kernel that experiments often need and that it does not have.
    """
    images = client.call("bootserver", "get_images", **({"former": True} if former else {}))
    if former:
        echo(images, image_columns(time.time()), output, "no images of former users")
        return
    echo(images, image_columns(time.time()), output, "no images; 'walt doctor' names the folder where they belong")
    hint = modules_hint(images)
    if hint and output in (TABLE, WIDE):
        print_message(hint)


@image.command("import")
@click.argument("source", metavar="SOURCE", type=click.Path())
@click.argument("name", metavar="[NEW_IMAGE]", default="")
@replace_option
@click.pass_obj
def import_(client: Client, source: str, name: str, force: bool) -> None:
    """Make an image from a root file system.

    SOURCE is a tar file or a directory of this computer, or else an image of the server's Docker Engine, IMAGE[:TAG].
    What the image lacks to boot as a node (kernel, init, ssh server) is added from the platform's.
    """
    if os.path.exists(source):
        make_image(client, _uploader(client, source, purpose=IMPORT, image=name or name_of_file(source)), force)
        return
    if source.startswith((".", "/", "~")) or source.endswith(TAR_SUFFIXES):
        raise NotFound(f"there is no file '{source}' on this computer")

    def import_and_follow(forced: bool) -> ImageChanged:
        from ..transfer.image_transfer import follow_job

        job = client.call("bootserver", "import_image", reference=source, name=name, force=forced)
        return follow_job(client, job, f"importing {source}")

    make_image(client, import_and_follow, force)


@image.command()
@click.argument("folder", metavar="DIR", type=click.Path())
@click.argument("name", metavar="NEW_IMAGE")
@replace_option
@click.pass_obj
def build(client: Client, folder: str, name: str, force: bool) -> None:
    """Build an image from a Dockerfile in a directory of this computer."""
    if not os.path.exists(os.path.join(folder, "Dockerfile")):
        raise NotFound(f"there is no Dockerfile in '{folder}'")
    make_image(client, _uploader(client, folder, purpose=BUILD, image=name), force)


@image.command()
@image_argument
@click.argument("new_name", metavar="NEW_IMAGE")
@replace_option
@click.pass_obj
def clone(client: Client, name: str, new_name: str, force: bool) -> None:
    """Copy an image to a new one of yours."""

    def clone_image(forced: bool) -> ImageChanged:
        arguments = {"image": name, "name": new_name, "force": forced}
        return read(ImageChanged, client.call("bootserver", "clone_image", timeout_s=CLONE_TIMEOUT_S, **arguments))

    make_image(client, clone_image, force)


@image.command()
@image_argument
@click.argument("new_name", metavar="NEW_IMAGE")
@click.pass_obj
def rename(client: Client, name: str, new_name: str) -> None:
    """Give an image of yours another name.

    An administrator gives an image of a former user (walt image show --former) to a user: NEW_IMAGE is USER/NAME.
    """
    changed = read(ImageChanged, client.call("bootserver", "rename_image", image=name, name=new_name))
    print_message(f"{changed.image.name}: was {name}")


@image.command()
@image_argument
@click.option("--force", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def remove(client: Client, name: str, force: bool) -> None:
    """Remove an image of yours that no node uses."""
    confirm_force(lambda forced: client.call("bootserver", "remove_image", image=name, force=forced), force)
    print_message(f"{name}: removed")


@image.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("target", metavar="DST")
@click.pass_obj
def cp(client: Client, sources: Sequence[str], target: str) -> None:
    """Copy files into an image of yours, or out of an image.

    One side is IMAGE:PATH. A directory is copied with its contents: into DST if that is a directory, else under the
    name DST. Write a file of this computer with ':' in its name as './a:b'.
    """
    from ..transfer import image_copy

    changed = image_copy.run(client, image_copy.parse_request(sources, target))
    if changed:
        report_image(client, changed)


@image.command()
@image_argument
@click.argument("new_name", metavar="[NEW_IMAGE]", default="")
@click.option("--save/--discard", default=None, help="What to do with the changes, instead of asking.")
@click.pass_obj
def shell(client: Client, name: str, new_name: str, save: bool | None) -> int:
    """Log in to an image to change it, or to make NEW_IMAGE from it.

    It runs in a temporary node, with internet access if the platform gives that to nodes.
    """
    from .image_shell import run

    if save is None and not sys.stdin.isatty():
        raise InvalidRequest(
            "whether to save the changes cannot be asked without a terminal; allowed: --save or --discard"
        )
    return run(client, name, new_name, save)


def make_image(client: Client, command: Callable[[bool], ImageChanged], force: bool) -> None:
    """`command` makes or replaces an image; print what it has become."""
    report_image(client, confirm_force(command, force))


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
        Column("lacks", cell=lambda row: ", ".join(row.get("lacks", ())), sparse=True),
    ]


def modules_hint(images: Sequence[Row]) -> str:
    """Where there are more modules than in the kernels of these images. Pure."""
    lacks = {
        one["name"]: set(one["lacks"]) for one in images if "lacks" in one and not one["kernel"].startswith(NO_KERNEL)
    }
    best = min(lacks, key=lambda name: len(lacks[name]), default="")
    if any(lacks[best] < others for others in lacks.values()):
        return f"{best} has modules that others lack: walt node create NODE --image {best}"
    if best and lacks[best] - IN_NO_DEBIAN:
        return "Debian's full kernel has more modules: the operator of the platform can offer the image debian-full"
    return ""


def _uploader(client: Client, path: str, **arguments: str) -> Callable[[bool], ImageChanged]:
    """Sends a tar file or a directory, to be made an image of."""

    def upload(forced: bool) -> ImageChanged:
        from ..transfer.image_copy import upload_whole

        return upload_whole(client, path, **arguments, force=forced)

    return upload
