"""The images of users: one record each, which names its folder in the image store. A folder is never reused.

The records lie in the image store too, so that a backup, a move or a loss always concerns both. Those of one owner are
in a folder of his name, which says to which account they belong: when another account bears the name, they are set
aside under a name that no user can have, for an administrator to give or remove.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from services.bootserver.images import image_names
from services.bootserver.images.image_names import ImageName
from services.kit.files import write_atomically
from walt.contracts import serialization
from walt.contracts.nodes import Owner

RECORDS = ".records"
ACCOUNT = "account"  # a file among the records of one owner; there is none in folders of earlier versions


@dataclass(frozen=True)
class ImageRecord:
    """created: seconds since the epoch."""

    owner: str
    name: str
    folder: str
    created: float

    @property
    def image_name(self) -> ImageName:
        return ImageName(self.owner, self.name)


class ImageRecords:
    """users_folder: name of the folder below `images`, the image store, that holds the folders of users' images."""

    def __init__(self, images: Path, users_folder: str) -> None:
        self.users_folder = users_folder
        self._folder = images / users_folder / RECORDS

    def new_folder(self) -> str:
        return f"{self.users_folder}/{uuid.uuid4().hex}"

    def all(self) -> list[ImageRecord]:
        return [_load(path) for path in sorted(self._folder.glob("*/[a-z]*.json"))]

    def find(self, image_name: ImageName) -> ImageRecord | None:
        path = self._path(image_name)
        return _load(path) if path.exists() else None

    def put(self, record: ImageRecord) -> None:
        write_atomically(self._path(record.image_name), json.dumps(serialization.dump(record)))

    def remove(self, image_name: ImageName) -> None:
        self._path(image_name).unlink(missing_ok=True)

    def owners(self) -> list[str]:
        """Names of users who have, or had, images; without those that are set aside."""
        folders = self._folder.iterdir() if self._folder.exists() else ()
        return sorted(folder.name for folder in folders if not image_names.is_set_aside(folder.name))

    def account_of(self, owner: str) -> str:
        """To which account the images of that name belong; "" when there are none, or of an earlier version."""
        try:
            return (self._folder / owner / ACCOUNT).read_text()
        except FileNotFoundError:
            return ""

    def is_bound_to(self, owner: Owner) -> bool:
        return self.account_of(owner.name) in ("", owner.account)

    def bind(self, owner: Owner) -> None:
        """From now on the images of that name are this account's. Those of another account are set aside; its own, if
        they were, are back."""
        known = self.account_of(owner.name)
        if known == owner.account:
            return
        if known:
            self.set_aside(owner.name)
        own = self._folder / image_names.aside(owner)
        if own.exists():
            own.rename(self._folder / owner.name)
        else:
            write_atomically(self._folder / owner.name / ACCOUNT, owner.account)

    def set_aside(self, owner: str) -> None:
        """The images of an account that has ended."""
        former = image_names.aside(Owner(owner, self.account_of(owner)))
        (self._folder / owner).rename(self._folder / former)

    def _path(self, image_name: ImageName) -> Path:
        return self._folder / image_name.owner / f"{image_name.name}.json"


def _load(path: Path) -> ImageRecord:
    """The owner is what the folder is called."""
    return replace(serialization.load(ImageRecord, json.loads(path.read_text())), owner=path.parent.name)
