"""`walt node …` that change nodes: each calls `nodes` once, and may then wait for the resulting state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from walt.client import Client
from walt.contracts.nodes import Changed
from walt.contracts.vmrunner import BOOTED, STOPPED
from walt.replies import read

from ..ui.confirm import confirm_force
from ..ui.messages import print_message
from ..ui.options import check_timeout, force_option, node_set, selection_argument, timeout_option, wait_option
from ..ui.wait import wait_until

hard_option = click.option("--hard", is_flag=True, help="Cut the power, without asking the guest to shut down.")
wait_stopped_option = click.option("--wait", is_flag=True, help="Return once the nodes are stopped.")


@click.command()
@selection_argument
@hard_option
@wait_option
@timeout_option
@click.pass_obj
def reboot(client: Client, selection: Sequence[str], hard: bool, wait: bool, timeout: float | None) -> None:
    """Restart nodes, with their present settings."""
    arguments = {"selection": node_set(selection), "hard": hard}
    change_nodes(client, "reboot_nodes", "rebooting", BOOTED if wait else None, timeout, **arguments)


@click.command()
@selection_argument
@wait_option
@timeout_option
@click.pass_obj
def start(client: Client, selection: Sequence[str], wait: bool, timeout: float | None) -> None:
    """Power nodes on; those that are on stay as they are."""
    change_nodes(client, "start_nodes", "starting", BOOTED if wait else None, timeout, selection=node_set(selection))


@click.command()
@selection_argument
@hard_option
@wait_stopped_option
@timeout_option
@click.pass_obj
def stop(client: Client, selection: Sequence[str], hard: bool, wait: bool, timeout: float | None) -> None:
    """Power nodes off.

    They stay off, and yours, until 'walt node start'.
    """
    arguments = {"selection": node_set(selection), "hard": hard}
    change_nodes(client, "stop_nodes", "stopping", STOPPED if wait else None, timeout, **arguments)


@click.command()
@click.argument("selection", metavar="SET")
@click.argument("image", metavar="IMAGE")
@wait_option
@timeout_option
@click.pass_obj
def boot(client: Client, selection: str, image: str, wait: bool, timeout: float | None) -> None:
    """Boot nodes with another OS image; 'default' is the platform's."""
    arguments = {"selection": node_set(selection), "image": image}
    change_nodes(client, "boot_nodes", f"booting {image}", BOOTED if wait else None, timeout, **arguments)


@click.command()
@click.argument("name", metavar="NODE")
@click.argument("new_name", metavar="NEW_NAME")
@click.pass_obj
def rename(client: Client, name: str, new_name: str) -> None:
    """Give a node another name; its disks, addresses and files stay."""
    change_nodes(client, "rename_node", f"was {name}", name=name, new_name=new_name)


@click.command()
@selection_argument
@force_option
@click.pass_obj
def remove(client: Client, selection: Sequence[str], force: bool) -> None:
    """Remove nodes and their disks.

    A node whose disks or files hold data is removed only with --force, or after you confirm it.
    """
    change_nodes_with_force(client, "remove_nodes", "removed", force, selection=node_set(selection))


@click.command()
@selection_argument
@click.option("--force", is_flag=True, help="Take over other people's nodes, even if data is lost.")
@wait_option
@timeout_option
@click.pass_obj
def acquire(client: Client, selection: Sequence[str], force: bool, wait: bool, timeout: float | None) -> None:
    """Make free nodes yours."""
    state, nodes = BOOTED if wait else None, node_set(selection)
    change_nodes_with_force(client, "acquire_nodes", "acquired", force, state, timeout, selection=nodes)


@click.command()
@selection_argument
@force_option
@wait_option
@timeout_option
@click.pass_obj
def release(client: Client, selection: Sequence[str], force: bool, wait: bool, timeout: float | None) -> None:
    """Give up nodes: they become free.

    They boot the default image, for whoever acquires them next.
    """
    state, nodes = BOOTED if wait else None, node_set(selection)
    change_nodes_with_force(client, "release_nodes", "released", force, state, timeout, selection=nodes)


COMMANDS = (reboot, start, stop, boot, rename, remove, acquire, release)


def change_nodes(
    client: Client, method: str, done: str, state: str | None = None, timeout_s: float | None = None, **arguments: Any
) -> None:
    """Call `method` of nodes, print the names and `done`, and wait for `state` if there is one."""
    check_timeout(state is not None, timeout_s)
    _finish(client, client.call("nodes", method, **arguments), done, state, timeout_s)


def change_nodes_with_force(
    client: Client,
    method: str,
    done: str,
    force: bool,
    state: str | None = None,
    timeout_s: float | None = None,
    **arguments: Any,
) -> None:
    """As `change_nodes`, for a method that may need force."""
    check_timeout(state is not None, timeout_s)
    reply = confirm_force(lambda forced: client.call("nodes", method, **arguments, force=forced), force)
    _finish(client, reply, done, state, timeout_s)


def _finish(client: Client, reply: Any, done: str, state: str | None, timeout_s: float | None) -> None:
    changed = read(Changed, reply)
    names = [node.name for node in changed.nodes]
    print_message(f"{', '.join(names)}: {done}" if names else "no nodes match")
    for note in changed.notes:
        print_message(note)
    if state:
        wait_until(client, changed.nodes, state, timeout_s)
