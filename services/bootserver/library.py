"""Which images users have: a record for each, naming its folder in the image store. A folder is never used again.

The records lie in the store too: whoever keeps, moves or loses the one does the same to the other.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from services.bootserver.names import ImageName
from services.contracts import wire
from services.kit.files import write_atomically

RECORDS = ".records"


@dataclass(frozen=True)
class Record:
    owner: str
    name: str
    folder: str
    created: float

    @property
    def title(self) -> ImageName:
        return ImageName(self.owner, self.name)


class Library:
    """home: folder of `images`, the image store, in which the folders of users' images are."""

    def __init__(self, images: Path, home: str) -> None:
        self.home = home
        self._folder = images / home / RECORDS

    def new_folder(self) -> str:
        return f"{self.home}/{uuid.uuid4().hex}"

    def all(self) -> list[Record]:
        return [wire.load(Record, json.loads(path.read_text())) for path in sorted(self._folder.glob("*/[a-z]*.json"))]

    def find(self, title: ImageName) -> Record | None:
        path = self._path(title)
        return wire.load(Record, json.loads(path.read_text())) if path.exists() else None

    def put(self, record: Record) -> None:
        write_atomically(self._path(record.title), json.dumps(wire.dump(record)))

    def remove(self, title: ImageName) -> None:
        self._path(title).unlink(missing_ok=True)

    def _path(self, title: ImageName) -> Path:
        return self._folder / title.owner / f"{title.name}.json"
