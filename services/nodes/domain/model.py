"""Pure: one node as the registry knows it, and every change that a command or a report makes to it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from services.nodes.domain import disks
from walt.contracts import nodes, settings, vmrunner
from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.nodes import WALT_NET_ID, Disk, Interface, NodeTarget, NodeView, NodeWanted, Revision
from walt.contracts.settings import NodeConfig
from walt.contracts.vmrunner import VmReport

MACHINE_SETTINGS = ("netsetup",)  # the settings of physical nodes; virtual nodes have all


@dataclass(frozen=True)
class Volume:
    """A disk of a node, or its /persist, be that one or a folder.

    label: 'vda (32G)' or '/persist'; disk_id: 0 for /persist."""

    node_id: int
    node: str
    host: str
    owner: str
    label: str
    disk_id: int = 0
    is_virtual: bool = True


@dataclass(frozen=True)
class RequestContext:
    """Who issued the command, and when (epoch seconds). force: overrides the checks of ownership and of data loss;
    known_empty: volumes that were inspected and found empty; account: the id of the user's, "" where there is none;
    key: of a command that is done once, "" of one that has none."""

    user: str
    at: float
    force: bool = False
    known_empty: Collection[Volume] = ()
    account: str = ""
    key: str = ""


@dataclass(frozen=True)
class Status:
    """What is known of the node's VM or machine. boot, sequence: of the last report that was accepted; cause: its code
    for why the node is in this state, "" before the first report."""

    state: str
    since: float
    reason: str
    boot: int = 0
    sequence: int = 0
    cause: str = ""


@dataclass(frozen=True)
class Node:
    """id 0: not stored yet. owner, owner_account: name and id of its account, "" when free. interfaces: the registry
    derives them from owner and `config.networks`; disks: those of `config.disks`, numbered by the registry. hard: the
    guest is not asked before this boot or this end. lab: of its owner, "" when it is of none.

    moves_to: the host where it is to be, "" for where it is; is_leaving: it is being stopped for that. moves_from: the
    host that has its disks still, "" when its own has them; move: which of its moves that is."""

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
    owner_account: str = ""
    lab: str = ""
    moves_to: str = ""
    is_leaving: bool = False
    moves_from: str = ""
    move: int = 0

    @property
    def disks_host(self) -> str:
        """Where its disks are."""
        return self.moves_from or self.host

    @property
    def is_virtual(self) -> bool:
        return self.type == nodes.VIRTUAL

    @property
    def is_free(self) -> bool:
        return self.owner == ""

    @property
    def is_present(self) -> bool:
        return self.power != nodes.ABSENT

    @property
    def mac(self) -> str:
        """Of its interface on walt-net."""
        return next(interface.mac for interface in self.interfaces if interface.network.id == WALT_NET_ID)


@dataclass(frozen=True)
class NodeSummary:
    """What the metrics and the list of users show of a present node."""

    name: str
    owner: str
    image: str
    host: str
    state: str
    lab: str = ""

    @property
    def is_free(self) -> bool:
        return self.owner == ""


def changed(node: Node, **fields: Any) -> Node:
    """The node with other fields and a new version; the same node when nothing differs."""
    new = replace(node, **fields)
    return node if new == node else replace(new, version=node.version + 1)


def with_new_boot(node: Node, reason: str, at: float, hard: bool = False, **fields: Any) -> Node:
    """One more boot is wanted. The state changes in the same step, so that a later `wait` waits for this boot."""
    status = replace(node.status, state=vmrunner.DELAYING, since=at, reason=reason)
    fields["is_leaving"] = bool(node.moves_to)
    return changed(node, boot=node.boot + 1, power=nodes.POWER_ON, status=status, hard=hard, **fields)


def rebooted(node: Node, context: RequestContext, hard: bool) -> Node:
    return with_new_boot(node, f"reboot requested by {context.user}", context.at, hard)


def stopped(node: Node, context: RequestContext, hard: bool) -> Node:
    """The same node when it is off, or is being stopped at least as hard. The state stays until the host reports
    another; `boot` grows, so that a report from before this request is not mistaken for its result."""
    if node.power == nodes.POWER_OFF and (node.status.state == vmrunner.STOPPED or node.hard >= hard):
        return node
    status = replace(node.status, reason=f"stop requested by {context.user}")
    leaving = bool(node.moves_to)
    return changed(node, boot=node.boot + 1, power=nodes.POWER_OFF, status=status, hard=hard, is_leaving=leaving)


def started(node: Node, context: RequestContext) -> Node:
    """The same node when it is on. A guest that powered itself off is stopped, though no user requested that."""
    if node.power == nodes.POWER_ON and node.status.state != vmrunner.STOPPED:
        return node
    return with_new_boot(node, f"start requested by {context.user}", context.at)


def renamed(node: Node, name: str) -> Node:
    return changed(node, name=name)


def with_image(node: Node, image: str, context: RequestContext) -> Node:
    return with_new_boot(node, f"boot of image {image} requested by {context.user}", context.at, image=image)


def acquired(node: Node, context: RequestContext) -> Node:
    """It boots the default image with new disks, so that the new owner meets nothing of the former one. Hard, because
    the new owner has its console at once and must not see the former owner's system shut down."""
    reason, fresh = f"acquired by {context.user}", disks.with_new_ids(node.disks)
    owner = {"owner": context.user, "owner_account": context.account, "lab": ""}
    return with_new_boot(node, reason, context.at, hard=True, image=DEFAULT_IMAGE, disks=fresh, **owner)


def released(node: Node, context: RequestContext) -> Node:
    """The default image, new disks, and walt-net only, so that free nodes share no network of a former owner. Hard for
    the same reason as in `acquired`."""
    reason, fresh = f"released by {context.user}", disks.with_new_ids(node.disks)
    config = replace(node.config, networks=NodeConfig().networks)
    fields = {"owner": "", "owner_account": "", "lab": "", "image": DEFAULT_IMAGE, "config": config, "disks": fresh}
    return with_new_boot(node, reason, context.at, hard=True, **fields)


def removed(node: Node) -> Node:
    """Where its disks are: what has been copied of them to another host is dropped."""
    stays = {"host": node.disks_host, "moves_from": "", "moves_to": "", "is_leaving": False}
    return changed(node, power=nodes.ABSENT, **stays)


def configured(node: Node, config: NodeConfig) -> Node:
    return changed(node, config=config, disks=disks.match_disks(node.disks, config.disks))


def reported(node: Node, report: VmReport) -> Node:
    """The node after a report; the same node when the report is late, repeated, or about an earlier boot."""
    status = node.status
    late = report.boot < node.boot or (report.boot, report.sequence) <= (status.boot, status.sequence)
    if late or report.host != node.host or not node.is_present:
        return node
    new = Status(report.state, report.since, report.reason, report.boot, report.sequence, report.cause)
    return replace(node, status=new)


def spec(node: Node, registry: str, revision: Revision) -> NodeWanted:
    """registry, revision: identity of the database that holds the node, and where it is in its history. One that leaves
    its host is off there, whatever it is to be at the other."""
    return NodeWanted(
        id=node.id,
        name=node.name,
        host=node.host,
        owner=node.owner,
        power=nodes.POWER_OFF if node.is_leaving and node.is_present else node.power,
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
        registry=registry,
        owner_account=node.owner_account,
        revision=revision,
        persist_bytes=node.config.persist_bytes,
        moves_from=node.moves_from,
        move=node.move,
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
        mac=node.mac,
        image=node.image,
        host=node.host,
        config={name: text for name, text in shown.items() if node.is_virtual or name in MACHINE_SETTINGS},
        cause=node.status.cause,
        lab=node.lab,
        moves_to=node.moves_to,
    )


def target(node: Node) -> NodeTarget:
    return NodeTarget(
        node.id,
        node.name,
        node.owner,
        node.host,
        node.ip,
        node.status.state,
        node.type,
        node.version,
        node.owner_account,
        node.status.cause,
        node.status.reason,
    )
