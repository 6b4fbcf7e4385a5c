"""Pure: what a user is told of a command beside its result, a sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from services.contracts import nodes, settings
from services.contracts.settings import NodeConfig
from services.nodes.model import Node
from services.nodes.request import Limits

_PLAIN = NodeConfig().networks


def of_creation(new: Sequence[Node], limits: Limits) -> list[str]:
    return _scarce_cores(new, limits)


def of_configuration(before: Sequence[Node], after: Sequence[Node], limits: Limits) -> list[str]:
    recored = [new for old, new in zip(before, after, strict=True) if old.config.cpu_cores != new.config.cpu_cores]
    return [
        *(note for old, new in zip(before, after, strict=True) for note in _effect(old, new)),
        *_scarce_cores(recored, limits),
    ]


def of_start(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    idle = [old for old, new in zip(before, after, strict=True) if new is old]
    return [
        f"{node.name}: it is on already ({node.status.state}); nothing is changed (walt node reboot {node.name} "
        "boots it anew)"
        for node in idle
    ]


def of_stop(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    idle = [old for old, new in zip(before, after, strict=True) if new is old]
    return [
        f"{node.name}: its stop was asked already (state: {node.status.state}); nothing is changed" for node in idle
    ]


def of_change_of_owner(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    """What the node loses with its owner. A free node has no data to lose."""
    notes = []
    for old, new in zip(before, after, strict=True):
        if old.disks and not old.is_free:
            notes.append(f"{new.name}: its disks were emptied")
        if old.image != new.image:
            notes.append(f"{new.name}: it boots image {new.image} now (was: {old.image})")
        if old.config.networks != new.config.networks:
            was = settings.SETTINGS["networks"].format(old.config.networks)
            notes.append(f"{new.name}: networks={settings.SETTINGS['networks'].format(_PLAIN)} now (was: {was})")
    return notes


def of_renaming(old: Node, new: Node) -> list[str]:
    if old.power != nodes.POWER_ON:
        return []
    return [f"{new.name}: its own host name changes at the next boot (walt node reboot {new.name})"]


def _effect(before: Node, after: Node) -> list[str]:
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


def _scarce_cores(given: Sequence[Node], limits: Limits) -> list[str]:
    """More cores than the host has are allowed, and said; nodes alike in one sentence."""
    scarce: dict[tuple[str, int], list[str]] = {}
    for node in given:
        if node.host in limits and node.config.cpu_cores > limits[node.host].cpu_cores:
            scarce.setdefault((node.host, node.config.cpu_cores), []).append(node.name)
    return [
        f"{', '.join(names)}: cpu.cores={cores} is more than host {host} has ({limits[host].cpu_cores}); "
        "the cores of the node share these"
        for (host, cores), names in scarce.items()
    ]
