"""Where the cable listens, and a link as the words of a request (control.py). Pure.

Both ends use it. The cable itself takes no more of the project than this, the link model and its taps: in containers, its
image changes, and its container is replaced, only when one of those does (deploy/Dockerfile).
"""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

from services.contracts.links import Direction, LinkModel


def socket_path(run_dir: Path) -> Path:
    return run_dir / "netemu" / "cable.sock"


def link_words(link: LinkModel) -> dict[str, list[int]]:
    return {"up": list(astuple(link.up)), "down": list(astuple(link.down))}


def link_of(words: dict[str, Any]) -> LinkModel:
    return LinkModel(up=Direction(*words["up"]), down=Direction(*words["down"]))
