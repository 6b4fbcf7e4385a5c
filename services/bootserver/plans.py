"""The published boots, one file each: what a bootserver that was killed serves again, and watches again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.contracts import wire
from services.contracts.bootserver import BootRequest
from services.contracts.errors import NotFound
from services.kit.files import write_atomically


@dataclass(frozen=True)
class Published:
    """booted_at is 0 until the node has answered; folder: of the image, which the node keeps whatever becomes of its
    name ("" in a plan of before folders were noted)."""

    request: BootRequest
    published_at: float
    booted_at: float = 0.0
    folder: str = ""


def publish(known: Published | None, request: BootRequest, folder: str, now: float) -> Published:
    """The same boot published twice stays as it is. Pure."""
    return known if known is not None and known.request == request else Published(request, now, folder=folder)


class PlanStore:
    """Files are for the next start only: every request of a node is looked up here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = {int(path.stem): _load(path) for path in sorted(folder.glob("[0-9]*.json"))}

    def get(self, node_id: int) -> Published:
        published = self.find(node_id)
        if published is None:
            raise NotFound(f"no boot is published for node {node_id}")
        return published

    def find(self, node_id: int) -> Published | None:
        return self._known.get(node_id)

    def at_address(self, ip: str) -> Published:
        for published in self.all():
            if published.request.ip == ip:
                return published
        raise NotFound(f"no boot is published for {ip}")

    def folders(self) -> set[str]:
        """Of the images that nodes run."""
        return {published.folder for published in self.all()}

    def last_boots(self) -> dict[int, float]:
        """Seconds that the last boot of each node took, of those that have booted."""
        booted = [one for one in self.all() if one.booted_at]
        return {one.request.node_id: one.booted_at - one.published_at for one in booted}

    def known(self) -> set[int]:
        return set(self._known)

    def all(self) -> list[Published]:
        return list(self._known.values())

    def put(self, published: Published) -> None:
        write_atomically(self._path(published.request.node_id), json.dumps(wire.dump(published)))
        self._known[published.request.node_id] = published

    def put_booted(self, published: Published, at: float) -> bool:
        """Whether this boot is still the node's present one and had not been seen to end."""
        if self.find(published.request.node_id) != published:
            return False
        self.put(replace(published, booted_at=at))
        return True

    def remove(self, node_id: int) -> None:
        self._path(node_id).unlink(missing_ok=True)
        self._known.pop(node_id, None)

    def _path(self, node_id: int) -> Path:
        return self._folder / f"{node_id}.json"


def _load(path: Path) -> Published:
    data: dict[str, Any] = json.loads(path.read_text())
    return wire.load(Published, data)
