"""Pure: one node as the registry knows it, and every change that a command or a report makes to it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from services.contracts import nodes, settings, vmrunner
from services.contracts.bootserver import DEFAULT_IMAGE
from services.contracts.nodes import Disk, Interface, NodeTarget, NodeView, NodeWanted
from services.contracts.settings import NodeConfig
from services.contracts.vmrunner import VmReport
from services.nodes import disks

MACHINE_SETTINGS = ("netsetup",)  # those that concern physical nodes too


@dataclass(frozen=True)
class Holding:
    """A place where a node keeps data. what: 'vda (32G)' or '/persist'; disk_id: 0 for /persist."""

    node_id: int
    node: str
    host: str
    owner: str
    what: str
    disk_id: int = 0


@dataclass(frozen=True)
class Asked:
    """By whom and when (seconds of the epoch). force: what is in the way may go, be it data or an owner; empty: where
    it is known that there is no data."""

    user: str
    now: float
    force: bool = False
    empty: Collection[Holding] = ()


@dataclass(frozen=True)
class Status:
    """What is known of the node's machine. boot, sequence: those of the last report taken in."""

    state: str
    since: float
    reason: str
    boot: int = 0
    sequence: int = 0


@dataclass(frozen=True)
class Node:
    """id 0: not stored yet. interfaces: made by the store from `owner` and `config.networks`; disks: those of
    `config.disks`, numbered by the store. hard: the guest is not to be asked before this boot, or this end."""

    name: str
    host: str
    owner: str
    image: str
    ip: str
    config: NodeConfig
    status: Status
    id: int = 0
    power: str = nodes.POWER_ON
    boot: int = 1
    version: int = 1
    interfaces: tuple[Interface, ...] = ()
    disks: tuple[Disk, ...] = ()
    hard: bool = False
    type: str = nodes.VIRTUAL

    @property
    def is_virtual(self) -> bool:
        return self.type == nodes.VIRTUAL

    @property
    def is_free(self) -> bool:
        return self.owner == ""

    @property
    def is_present(self) -> bool:
        return self.power != nodes.ABSENT


def changed(node: Node, **fields: Any) -> Node:
    """The node with other fields and a new version; the same node when nothing differs."""
    new = replace(node, **fields)
    return node if new == node else replace(new, version=node.version + 1)


def booted_anew(node: Node, reason: str, now: float, hard: bool = False, **fields: Any) -> Node:
    """One more boot is wanted. The state says so in the same step, so that a wait that follows waits for it."""
    status = replace(node.status, state=vmrunner.DELAYING, since=now, reason=reason)
    return changed(node, boot=node.boot + 1, power=nodes.POWER_ON, status=status, hard=hard, **fields)


def rebooted(node: Node, asked: Asked, hard: bool) -> Node:
    return booted_anew(node, f"reboot asked by {asked.user}", asked.now, hard)


def stopped(node: Node, asked: Asked, hard: bool) -> Node:
    """The same when it is off already, or ends no harder than this. The state stays what it is until the host says
    that it is another; `boot` grows, so that no report from before the wish is taken for that."""
    if node.power == nodes.POWER_OFF and (node.status.state == vmrunner.STOPPED or node.hard >= hard):
        return node
    status = replace(node.status, reason=f"stop asked by {asked.user}")
    return changed(node, boot=node.boot + 1, power=nodes.POWER_OFF, status=status, hard=hard)


def started(node: Node, asked: Asked) -> Node:
    """The same when it is on already. A guest that powered itself off has stopped, though nobody asked for it."""
    if node.power == nodes.POWER_ON and node.status.state != vmrunner.STOPPED:
        return node
    return booted_anew(node, f"start asked by {asked.user}", asked.now)


def renamed(node: Node, name: str) -> Node:
    return changed(node, name=name)


def given_image(node: Node, image: str, asked: Asked) -> Node:
    return booted_anew(node, f"boot of image {image} asked by {asked.user}", asked.now, image=image)


def acquired(node: Node, asked: Asked) -> Node:
    """It boots anew, the default image, with new disks: nothing that a former owner left in it, and no image of his,
    may meet the new one. Hard: while the former one's system shuts down, its console is the new owner's already."""
    reason, fresh = f"acquired by {asked.user}", disks.emptied(node.disks)
    return booted_anew(node, reason, asked.now, hard=True, owner=asked.user, image=DEFAULT_IMAGE, disks=fresh)


def released(node: Node, asked: Asked) -> Node:
    """The default image, empty disks, and no network but walt-net: free nodes of former owners do not meet. Hard, as
    when it is acquired."""
    reason, fresh = f"released by {asked.user}", disks.emptied(node.disks)
    config = replace(node.config, networks=NodeConfig().networks)
    return booted_anew(node, reason, asked.now, hard=True, owner="", image=DEFAULT_IMAGE, config=config, disks=fresh)


def removed(node: Node) -> Node:
    return changed(node, power=nodes.ABSENT)


def configured(node: Node, config: NodeConfig) -> Node:
    return changed(node, config=config, disks=disks.fit(node.disks, config.disks))


def reported(node: Node, report: VmReport) -> Node:
    """The node after a report; the same when the report is late, doubled, or answers an older boot."""
    status = node.status
    late = report.boot < node.boot or (report.boot, report.sequence) <= (status.boot, status.sequence)
    if late or report.host != node.host or not node.is_present:
        return node
    return replace(node, status=Status(report.state, report.since, report.reason, report.boot, report.sequence))


def wanted(node: Node) -> NodeWanted:
    return NodeWanted(
        id=node.id,
        name=node.name,
        host=node.host,
        owner=node.owner,
        power=node.power,
        boot=node.boot,
        version=node.version,
        image=node.image,
        ip=node.ip,
        cpu_cores=node.config.cpu_cores,
        ram_bytes=node.config.ram_bytes,
        boot_delay_s=node.config.boot_delay_s,
        boot_timeout_s=node.config.boot_timeout_s,
        boot_retries=node.config.boot_retries,
        interfaces=node.interfaces,
        disks=node.disks,
        netsetup=node.config.netsetup,
        hard=node.hard,
        type=node.type,
    )


def view(node: Node) -> NodeView:
    shown = settings.show_settings(node.config)
    return NodeView(
        name=node.name,
        owner=node.owner,
        state=node.status.state,
        since=node.status.since,
        reason=node.status.reason,
        type=node.type,
        ip=node.ip,
        mac=wanted(node).walt_net.mac,
        image=node.image,
        host=node.host,
        config={name: text for name, text in shown.items() if node.is_virtual or name in MACHINE_SETTINGS},
    )


def target(node: Node) -> NodeTarget:
    return NodeTarget(node.id, node.name, node.owner, node.host, node.ip, node.status.state, node.type, node.version)
