"""What an administrator does with the trash: look at it, give a disk back to a node, or delete it for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.kit.bus.repetitions import CallId
from services.nodes.commands.node_commands import Outcome
from services.nodes.commands.queries import find_node
from services.nodes.domain import event_texts, trash
from services.nodes.domain.event_texts import Action
from services.nodes.domain.model import Node, RequestContext
from services.nodes.peers.trash import HostTrash
from services.nodes.storage.registry import Registry, RegistryStore
from services.nodes.users.accounts import Accounts
from walt.contracts.errors import Conflict, Refused
from walt.contracts.nodes import TrashView
from walt.contracts.vmrunner import TrashedDisk

Execute = Callable[..., Outcome]  # (call, command, *arguments)


class TrashCommands:
    """The callers must be administrators."""

    def __init__(self, store: RegistryStore, accounts: Accounts, trash: HostTrash, execute: Execute) -> None:
        self._store = store
        self._accounts = accounts
        self._trash = trash
        self._execute = execute

    def views(self, caller: str) -> list[TrashView]:
        self._accounts.check_administrator(caller)
        disks = self._trash.disks()
        with self._store.transaction() as registry:
            names = {one.for_node: registry.get(one.for_node) for one in disks if one.for_node}
        return [trash.view(one, node.name if (node := names.get(one.for_node)) else "") for one in disks]

    def restore(self, caller: str, disk_id: str, name: str) -> Outcome:
        """The disk is kept for the node before the registry knows it: a crash in between loses nothing."""
        self._accounts.check_administrator(caller)
        (disk,) = self._trash.find([disk_id])
        with self._store.transaction() as registry:
            node = check_restorable(registry, disk, name)
        self._trash.claim(disk, node.id, node.owner_account)
        try:
            return self._execute(CallId(caller), restore, disk, name)
        except Refused:
            self._trash.claim(disk, 0, "")
            raise

    def empty(self, caller: str, disk_ids: Sequence[str] | None) -> list[str]:
        self._accounts.check_administrator(caller)
        if disk_ids is None:
            chosen = [disk for disk in self._trash.disks() if not disk.for_node]
        else:
            chosen = self._trash.find(disk_ids)
        self._trash.remove(chosen)
        return [disk.id for disk in chosen]


def check_restorable(registry: Registry, disk: TrashedDisk, name: str) -> Node:
    """The node, as it is now."""
    node = find_node(registry, name)
    trash.restored(node, disk)
    if disk.number and registry.has_disk(disk.number):
        raise Conflict(f"'{disk.id}' is a disk of a node again; allowed: a disk that is in the trash alone")
    return node


def restore(registry: Registry, context: RequestContext, disk: TrashedDisk, name: str) -> Outcome:
    """Its owner may have more than his limits afterwards: an administrator decides that."""
    node = check_restorable(registry, disk, name)
    saved = registry.save(trash.restored(node, disk)) if disk.number else node
    action = Action("restore", context, f"{trash.label(disk)} of {disk.node} ({disk.id})")
    registry.events.add([event_texts.of_node(action, saved)])
    note = f"{node.name} gets it at its next boot (walt node reboot {node.name})"
    return Outcome([saved], registry.specs([saved]) if disk.number else [], [note])
