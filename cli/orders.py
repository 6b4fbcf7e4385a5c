"""`walt node …` that change nodes: each is one call of `nodes`, then perhaps a wait for what follows from it."""

from __future__ import annotations

from typing import Any

import click

from cli.asking import insist
from cli.options import check_timeout, force_option, timeout_option, wait_option
from cli.output import say
from cli.waiting import wait_until
from services.contracts.vmrunner import BOOTED, STOPPED

hard_option = click.option("--hard", is_flag=True, help="Cut the power, without asking the guest.")
wait_stopped_option = click.option("--wait", is_flag=True, help="Return once they are stopped.")
selection_argument = click.argument("selection", metavar="SET")


@click.command()
@selection_argument
@hard_option
@wait_option
@timeout_option
@click.pass_obj
def reboot(client: Any, selection: str, hard: bool, wait: bool, timeout: float | None) -> None:
    """Restart nodes, with the settings of this moment."""
    order(client, "reboot_nodes", "rebooting", BOOTED if wait else None, timeout, selection=selection, hard=hard)


@click.command()
@selection_argument
@wait_option
@timeout_option
@click.pass_obj
def start(client: Any, selection: str, wait: bool, timeout: float | None) -> None:
    """Power nodes on; those that are on stay as they are."""
    order(client, "start_nodes", "starting", BOOTED if wait else None, timeout, selection=selection)


@click.command()
@selection_argument
@hard_option
@wait_stopped_option
@timeout_option
@click.pass_obj
def stop(client: Any, selection: str, hard: bool, wait: bool, timeout: float | None) -> None:
    """Power nodes off.

    They stay off, and yours, until 'walt node start'.
    """
    order(client, "stop_nodes", "stopping", STOPPED if wait else None, timeout, selection=selection, hard=hard)


@click.command()
@selection_argument
@click.argument("image", metavar="IMAGE")
@wait_option
@timeout_option
@click.pass_obj
def boot(client: Any, selection: str, image: str, wait: bool, timeout: float | None) -> None:
    """Boot nodes with another OS image; 'default' is the platform's."""
    done = f"booting {image}"
    order(client, "boot_nodes", done, BOOTED if wait else None, timeout, selection=selection, image=image)


@click.command()
@click.argument("name", metavar="NODE")
@click.argument("new_name", metavar="NEW_NAME")
@click.pass_obj
def rename(client: Any, name: str, new_name: str) -> None:
    """Give a node another name; its disks, addresses and files stay."""
    order(client, "rename_node", f"was {name}", name=name, new_name=new_name)


@click.command()
@selection_argument
@force_option
@click.pass_obj
def remove(client: Any, selection: str, force: bool) -> None:
    """Remove nodes, their disks too.

    A node whose disks or files hold data is removed only with --force, or when you confirm it.
    """
    insist_on(client, "remove_nodes", "removed", force, selection=selection)


@click.command()
@selection_argument
@click.option("--force", is_flag=True, help="Take over other people's nodes, even if data is lost.")
@wait_option
@timeout_option
@click.pass_obj
def acquire(client: Any, selection: str, force: bool, wait: bool, timeout: float | None) -> None:
    """Make free nodes yours."""
    insist_on(client, "acquire_nodes", "acquired", force, BOOTED if wait else None, timeout, selection=selection)


@click.command()
@selection_argument
@force_option
@wait_option
@timeout_option
@click.pass_obj
def release(client: Any, selection: str, force: bool, wait: bool, timeout: float | None) -> None:
    """Make nodes of yours free.

    They boot the default image, for whoever acquires them.
    """
    insist_on(client, "release_nodes", "released", force, BOOTED if wait else None, timeout, selection=selection)


COMMANDS = (reboot, start, stop, boot, rename, remove, acquire, release)


def order(
    client: Any, method: str, done: str, state: str | None = None, timeout_s: float | None = None, **what: Any
) -> None:
    """state: wait for it."""
    check_timeout(state is not None, timeout_s)
    _follow(client, client.call("nodes", method, **what), done, state, timeout_s)


def insist_on(
    client: Any,
    method: str,
    done: str,
    force: bool,
    state: str | None = None,
    timeout_s: float | None = None,
    **what: Any,
) -> None:
    """As `order`, for what may need --force."""
    check_timeout(state is not None, timeout_s)
    reply = insist(lambda forced: client.call("nodes", method, **what, force=forced), force)
    _follow(client, reply, done, state, timeout_s)


def _follow(client: Any, reply: dict[str, Any], done: str, state: str | None, timeout_s: float | None) -> None:
    names = [one["name"] for one in reply["nodes"]]
    say(f"{', '.join(names)}: {done}" if names else "no node is concerned")
    for note in reply["notes"]:
        say(note)
    if state:
        wait_until(client, reply["nodes"], state, timeout_s)
