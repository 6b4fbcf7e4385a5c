"""Pure: one node as the registry knows it, and every change that a command or a report makes to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from services.contracts import nodes, settings, vmrunner
from services.contracts.bootserver import DEFAULT_IMAGE
from services.contracts.errors import InvalidRequest
from services.contracts.nodes import Interface, NodeTarget, NodeView, NodeWanted
from services.contracts.settings import NodeConfig
from services.contracts.vmrunner import VmReport

VIRTUAL = "virtual"


@dataclass(frozen=True)
class Asked:
    """By whom and when (seconds of the epoch)."""

    user: str
    now: float


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
    """id 0: not stored yet. interfaces: made by the store from `owner` and `config.networks`."""

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


def booted_anew(node: Node, reason: str, now: float, **fields: Any) -> Node:
    """One more boot is wanted. The state says so in the same step, so that a wait that follows waits for it."""
    status = replace(node.status, state=vmrunner.DELAYING, since=now, reason=reason)
    return changed(node, boot=node.boot + 1, power=nodes.POWER_ON, status=status, **fields)


def rebooted(node: Node, asked: Asked) -> Node:
    return booted_anew(node, f"reboot asked by {asked.user}", asked.now)


def given_image(node: Node, image: str, asked: Asked) -> Node:
    return booted_anew(node, f"boot of image {image} asked by {asked.user}", asked.now, image=image)


def acquired(node: Node, asked: Asked) -> Node:
    """It boots anew: nothing that a former owner left in its memory may meet the new one."""
    return booted_anew(node, f"acquired by {asked.user}", asked.now, owner=asked.user)


def released(node: Node, asked: Asked) -> Node:
    return booted_anew(node, f"released by {asked.user}", asked.now, owner="", image=DEFAULT_IMAGE)


def removed(node: Node) -> Node:
    return changed(node, power=nodes.ABSENT)


def configured(nodes: Iterable[Node], values: dict[str, Any]) -> list[Node]:
    """All of them with these settings, or InvalidRequest with the faults of each."""
    new, faults = [], []
    for node in nodes:
        try:
            new.append(changed(node, config=settings.apply_settings(node.config, values)))
        except InvalidRequest as refused:
            faults += [f"{node.name}: {sentence}" for sentence in refused.args]
    if faults:
        raise InvalidRequest(*faults)
    return new


def reported(node: Node, report: VmReport) -> Node:
    """The node after a report; the same when the report is late, doubled, or answers an older boot."""
    status = node.status
    late = report.boot < node.boot or (report.boot, report.sequence) <= (status.boot, status.sequence)
    if late or report.host != node.host or not node.is_present:
        return node
    return replace(node, status=Status(report.state, report.since, report.reason, report.boot, report.sequence))


def effect_notes(before: Node, after: Node) -> list[str]:
    """What a changed configuration does not change at once."""
    waiting = [name for name in sorted(settings.SETTINGS) if _waits_for_boot(name, before.config, after.config)]
    if not waiting:
        return []
    verb = "takes" if len(waiting) == 1 else "take"
    return [f"{after.name}: {', '.join(waiting)} {verb} effect at the next boot (walt node reboot {after.name})"]


def _waits_for_boot(name: str, before: NodeConfig, after: NodeConfig) -> bool:
    setting = settings.SETTINGS[name]
    old, new = getattr(before, setting.field), getattr(after, setting.field)
    if setting.takes_effect == settings.LINKS_LIVE:
        return [use.name for use in old] != [use.name for use in new]
    return setting.takes_effect == settings.NEXT_BOOT and bool(old != new)


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
    )


def view(node: Node) -> NodeView:
    return NodeView(
        name=node.name,
        owner=node.owner,
        state=node.status.state,
        since=node.status.since,
        reason=node.status.reason,
        type=VIRTUAL,
        ip=node.ip,
        mac=wanted(node).walt_net.mac,
        image=node.image,
        host=node.host,
        config=settings.show_settings(node.config),
    )


def target(node: Node) -> NodeTarget:
    return NodeTarget(node.id, node.name, node.owner, node.host, node.ip, node.status.state)
