"""Pure: a disk in the trash that becomes a disk of a node again, or its /persist."""

from __future__ import annotations

from dataclasses import replace

from services.nodes.domain import model
from services.nodes.domain.model import Node
from walt.contracts.disks import MAX_DISKS, DiskUse, format_disk
from walt.contracts.errors import Conflict
from walt.contracts.nodes import Disk, TrashView
from walt.contracts.vmrunner import TrashedDisk


def restored(node: Node, disk: TrashedDisk) -> Node:
    """The node as it is to be; the same for a /persist, which vmrunner puts in place. Conflict when it cannot have
    the disk."""
    if not node.is_virtual:
        raise Conflict(f"{node.name} is a physical node; allowed: a virtual node")
    if node.host != disk.host:
        raise Conflict(f"{node.name} is on host {node.host}, '{disk.id}' on {disk.host}; allowed: a node of that host")
    if not disk.number:
        if node.is_free:
            raise Conflict(f"{node.name} is free and has no /persist; allowed: a node that has an owner")
        return node
    if len(node.disks) >= MAX_DISKS:
        raise Conflict(f"{node.name} has {len(node.disks)} disks; allowed: at most {MAX_DISKS}")
    use = DiskUse(disk.size_bytes, disk.template)
    config = replace(node.config, disks=(*node.config.disks, use))
    return model.changed(node, config=config, disks=(*node.disks, Disk(disk.number, use.size_bytes, use.template)))


def label(disk: TrashedDisk) -> str:
    """As users know it: '32G[template=ext4]'."""
    return format_disk(DiskUse(disk.size_bytes, disk.template)) if disk.number else "/persist"


def view(disk: TrashedDisk, restored_to: str) -> TrashView:
    return TrashView(disk.id, disk.node, disk.owner, label(disk), disk.used_bytes, disk.at, disk.left_s, restored_to)
