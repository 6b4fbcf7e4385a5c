"""Pure: which commands a physical node refuses, and the notes about those that cannot follow at the moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.nodes.domain.model import MACHINE_SETTINGS, Node
from walt.contracts.errors import Conflict
from walt.contracts.settings import SETTINGS
from walt.contracts.vmrunner import BOOTED, BOOTING, DELAYING, LOADING, STOPPED

_WHY_NOT = {
    "cpu.cores": "its processor is its own",
    "ram": "its memory is its own",
    "disks": "its disks are its own",
    "persist": "its /persist is a folder of the server",
    "networks": "its wiring is its own",
    "boot.delay": "it boots as soon as it is switched on",
    "boot.timeout": "the platform cannot cut its power",
    "boot.retries": "the platform cannot cut its power",
}


def check_soft(named: Iterable[Node], hard: bool) -> None:
    if hard:
        _refuse(named, "the platform cannot cut its power; allowed: without --hard, by its own system")


def check_startable(named: Iterable[Node]) -> None:
    _refuse(named, "the platform cannot switch it on; it boots when somebody does")


def check_links(named: Iterable[Node]) -> None:
    _refuse(named, "its link is a real cable; allowed: links of virtual nodes")


def setting_faults(node: Node, values: dict[str, Any]) -> list[str]:
    """A sentence for each setting that a physical node does not have."""
    given = [setting.name for setting in SETTINGS.values() if setting.field in values]
    return [
        f"{node.name}: {name} is for virtual nodes only: {_WHY_NOT[name]}; allowed: {', '.join(MACHINE_SETTINGS)}"
        for name in given
        if not node.is_virtual and name not in MACHINE_SETTINGS
    ]


def notes_of_boot(before: Iterable[Node], after: Iterable[Node]) -> list[str]:
    """When a machine that cannot be rebooted at this moment will boot."""
    return [
        f"{new.name}: {_when_it_boots(old)}boots image {new.image}"
        for old, new in zip(before, after, strict=True)
        if not new.is_virtual and old.status.state != BOOTED
    ]


def notes_of_stop(before: Iterable[Node]) -> list[str]:
    return [
        f"{node.name}: it does not answer, so it cannot be switched off"
        for node in before
        if not node.is_virtual and not _is_booting(node) and node.status.state not in (BOOTED, STOPPED)
    ]


def _when_it_boots(node: Node) -> str:
    if _is_booting(node):
        return "it is booting, and is rebooted after that; then it "
    return "it does not answer; once it is switched on, or reset, it "


def _is_booting(node: Node) -> bool:
    return node.status.state in (DELAYING, LOADING, BOOTING)


def _refuse(named: Iterable[Node], why: str) -> None:
    refused = [f"node '{node.name}' is physical: {why}" for node in named if not node.is_virtual]
    if refused:
        raise Conflict(*refused)
