"""Where the cable listens, and how a link is written in a request (control.py). Pure.

Both ends use it. A cable outlives upgrades of netemu, so requests and replies stay compatible. It imports nothing
else of the project but the link model and kit.tun: its container is replaced only when one of these changes
(deploy/Dockerfile).
"""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

from walt.contracts.links import Direction, LinkModel


def socket_path(run_dir: Path) -> Path:
    return run_dir / "netemu" / "cable.sock"


def lock_path(run_dir: Path) -> Path:
    """Locked for as long as the cable runs."""
    return socket_path(run_dir).with_suffix(".lock")


def traces_folder(run_dir: Path) -> Path:
    """Of the files of traces, by their ids, that netemu writes before a link follows one."""
    return run_dir / "netemu" / "traces"


def dump_link(link: LinkModel) -> dict[str, list[int]]:
    return {"up": _values(link.up), "down": _values(link.down)}


def _values(direction: Direction) -> list[int]:
    """Without the last ones that are not set (0): a cable of an earlier version knows fewer."""
    values = list(astuple(direction))
    while values and not values[-1]:
        values.pop()
    return values


def load_link(request: dict[str, Any]) -> LinkModel:
    return LinkModel(up=Direction(*request["up"]), down=Direction(*request["down"]))
