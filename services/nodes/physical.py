"""Pure: what cannot be asked of physical nodes, and what a user is told of those that do not listen at the moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.contracts.errors import Conflict
from services.contracts.settings import SETTINGS
from services.contracts.vmrunner import BOOTED, BOOTING, DELAYING, LOADING, STOPPED
from services.nodes.model import MACHINE_SETTINGS, Node

_WHY_NOT = {
    "cpu.cores": "its processor is its own",
    "ram": "its memory is its own",
    "disks": "its disks are its own",
    "networks": "its wiring is its own",
    "boot.delay": "it boots as soon as it is switched on",
    "boot.timeout": "nothing here can cut its power",
    "boot.retries": "nothing here can cut its power",
}


def check_soft(named: Iterable[Node], hard: bool) -> None:
    if hard:
        _refuse(named, "nothing here can cut its power; allowed: without --hard, which asks its system")


def check_startable(named: Iterable[Node]) -> None:
    _refuse(named, "nothing here can switch it on; it boots when somebody does")


def check_links(named: Iterable[Node]) -> None:
    _refuse(named, "its link is a real cable; allowed: links of virtual nodes")


def setting_faults(node: Node, values: dict[str, Any]) -> list[str]:
    """A sentence for each setting that cannot be set here."""
    asked = [setting.name for setting in SETTINGS.values() if setting.field in values]
    return [
        f"{node.name}: {name} is for virtual nodes only: {_WHY_NOT[name]}; allowed: {', '.join(MACHINE_SETTINGS)}"
        for name in asked
        if not node.is_virtual and name not in MACHINE_SETTINGS
    ]


def notes_of_boot(before: Iterable[Node], after: Iterable[Node]) -> list[str]:
    """What a machine that cannot be told to reboot at this moment will do."""
    return [
        f"{new.name}: {_when_told(old)}boots image {new.image}"
        for old, new in zip(before, after, strict=True)
        if not new.is_virtual and old.status.state != BOOTED
    ]


def notes_of_stop(before: Iterable[Node]) -> list[str]:
    return [
        f"{node.name}: it does not answer, so that it cannot be told to switch itself off"
        for node in before
        if not node.is_virtual and not _is_coming(node) and node.status.state not in (BOOTED, STOPPED)
    ]


def _when_told(node: Node) -> str:
    if _is_coming(node):
        return "it is booting; told to reboot once it has, it "
    return "it does not answer; once it is switched on, or reset, it "


def _is_coming(node: Node) -> bool:
    return node.status.state in (DELAYING, LOADING, BOOTING)


def _refuse(named: Iterable[Node], why: str) -> None:
    refused = [f"node '{node.name}' is physical: {why}" for node in named if not node.is_virtual]
    if refused:
        raise Conflict(*refused)
