"""Pure: the notes that a command returns beside its result, in sentences for the user."""

from __future__ import annotations

from collections.abc import Sequence

from services.nodes.domain.model import Node
from services.nodes.domain.settings_request import Capacities
from walt.contracts import nodes, settings
from walt.contracts.settings import NodeConfig

_PLAIN = NodeConfig().networks


def of_creation(new: Sequence[Node], capacities: Capacities) -> list[str]:
    return _scarce_cores(new, capacities)


def of_configuration(before: Sequence[Node], after: Sequence[Node], capacities: Capacities) -> list[str]:
    with_new_cores = [
        new for old, new in zip(before, after, strict=True) if old.config.cpu_cores != new.config.cpu_cores
    ]
    return [
        *(note for old, new in zip(before, after, strict=True) for note in _effect(old, new)),
        *(note for old, new in zip(before, after, strict=True) for note in _move(old, new)),
        *_scarce_cores(with_new_cores, capacities),
    ]


def of_start(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    idle = [old for old, new in zip(before, after, strict=True) if new is old]
    return [
        f"{node.name}: it is on already ({node.status.state}); nothing is changed (to boot it again: "
        f"walt node reboot {node.name})"
        for node in idle
    ]


def of_stop(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    idle = [old for old, new in zip(before, after, strict=True) if new is old]
    return [
        f"{node.name}: its stop is already requested (state: {node.status.state}); nothing is changed" for node in idle
    ]


def of_change_of_owner(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    """What a node loses with its owner. The disks of a free node are empty."""
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
    """Which settings take effect at the next boot only."""
    waiting = waiting_settings(before.config, after.config)
    if not waiting:
        return []
    verb = "takes" if len(waiting) == 1 else "take"
    return [f"{after.name}: {', '.join(waiting)} {verb} effect at the next boot (walt node reboot {after.name})"]


def _move(before: Node, after: Node) -> list[str]:
    if after.moves_from and not before.moves_from:
        return [f"{after.name}: its disks move from host {after.moves_from} to {after.host} now"]
    if not after.moves_to or after.moves_to == before.moves_to:
        return []
    when = "as soon as it is off" if after.is_leaving else f"at the next boot (walt node reboot {after.name})"
    return [f"{after.name}: it moves from host {after.host} to {after.moves_to} {when}"]


def waiting_settings(before: NodeConfig, after: NodeConfig) -> list[str]:
    """Those that differ and take effect at the next boot only."""
    return [name for name in sorted(settings.SETTINGS) if _waits_for_boot(name, before, after)]


def _waits_for_boot(name: str, before: NodeConfig, after: NodeConfig) -> bool:
    setting = settings.SETTINGS[name]
    old, new = getattr(before, setting.field), getattr(after, setting.field)
    if setting.takes_effect == settings.LINKS_LIVE:
        return _is_moved([use.name for use in old], [use.name for use in new])
    return setting.takes_effect == settings.NEXT_BOOT and bool(old != new)


def _is_moved(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether the interface of a network that stays gets another slot. Those that come and go do so live."""
    return any(name in old and old.index(name) != place for place, name in enumerate(new))


def _scarce_cores(given: Sequence[Node], capacities: Capacities) -> list[str]:
    """More cores than the host has are allowed, with a note; one for all nodes with the same number."""
    scarce: dict[tuple[str, int], list[str]] = {}
    for node in given:
        if node.host in capacities and node.config.cpu_cores > capacities[node.host].cpu_cores:
            scarce.setdefault((node.host, node.config.cpu_cores), []).append(node.name)
    return [
        f"{', '.join(names)}: cpu.cores={cores} is more than host {host} has ({capacities[host].cpu_cores}); "
        "the cores of the node share these"
        for (host, cores), names in scarce.items()
    ]
