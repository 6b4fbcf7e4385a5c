"""Where images of users are made: in a staging folder, whose name begins with a dot until its tree is whole.

Then the tree is moved to a folder of its own, then its record is written (`image_records.py`); only then is it an
image. Whatever else lies there is a leftover and is removed. Two commands never make or remove the same image at the
same time.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from services.bootserver.images.image_limits import ImageLimits
from services.bootserver.images.image_names import ImageName
from services.bootserver.images.image_records import ImageRecord
from services.bootserver.images.store import Image, ImageStore
from services.kit.files import remove_tree
from services.kit.subprocesses import run
from walt.contracts.errors import Conflict, Denied, NeedsForce

COPY_LIMIT_S = 600
TREE = "tree"  # in the staging folder: what is to become the image


class Staging:
    """`in_use()`: folders of the images that nodes run."""

    def __init__(self, images: ImageStore, limits: ImageLimits, in_use: Callable[[], set[str]]) -> None:
        self._images = images
        self._limits = limits
        self._in_use = in_use
        self._in_progress: set[str] = set()
        self._kept: list[str] = []
        self._locked: dict[ImageName, str] = {}  # and the account of its owner

    @contextlib.contextmanager
    def lock(self, *names: ImageName) -> Iterator[None]:
        """No other command makes, renames or removes these images meanwhile, and only this account makes them."""
        for name in names:
            if name in self._locked:
                raise Conflict(f"another command is at work on image '{name}'; allowed: once that has ended")
        self._locked.update({name: self._images.records.account_of(name.owner) for name in names})
        try:
            yield
        finally:
            for name in names:
                self._locked.pop(name, None)

    def check_may_create(self, image_name: ImageName, force: bool) -> None:
        if not force and self._images.records.find(image_name):
            raise NeedsForce(f"image '{image_name}' is there already; allowed: another name, or --force to replace it")
        self._limits.check(image_name)

    def bytes_left(self, image_name: ImageName) -> int | None:
        """What the owner may have for this image; None: as much as there is."""
        return self._limits.bytes_left(image_name)

    def check_name_free(self, image_name: ImageName) -> None:
        if self._images.records.find(image_name):
            raise Conflict(f"image '{image_name}' is there already; allowed: another name")

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A new staging folder in the file system of the images. It may hold set-uid programs: only root can enter."""
        users = self._images.folder / self._images.records.users_folder
        users.mkdir(mode=0o700, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=users))
        self._in_progress.add(str(folder))
        try:
            yield folder
        finally:
            remove_tree(folder)
            self._in_progress.discard(str(folder))

    @contextlib.contextmanager
    def keep(self, image_folder: str) -> Iterator[None]:
        """The folder of an image stays, even if the image is removed and its nodes boot another meanwhile."""
        self._kept.append(image_folder)
        try:
            yield
        finally:
            self._kept.remove(image_folder)

    def install(self, staging_folder: Path, image_name: ImageName) -> Image:
        """`staging_folder`/tree, whole and bootable, becomes the image of that name and replaces one that had it."""
        folder = self._images.records.new_folder()
        self._in_progress.add(folder)
        try:
            (staging_folder / TREE).rename(self._images.folder / folder)
            image = self._images.in_folder(folder, str(image_name))
            self._images.boot_files(image)
            self._check_account(image_name)
            self._enter(image_name, image)
        except BaseException:
            self._images.remove(folder)
            raise
        finally:
            self._in_progress.discard(folder)
        self.remove_orphans()
        return self._images.find(str(image_name))

    def share(self, image: Image, image_name: ImageName) -> None:
        """A second name for the image of a user: its content never changes, so both may have its folder."""
        self._enter(image_name, image)
        self.remove_orphans()

    def _enter(self, image_name: ImageName, image: Image) -> None:
        with self._limits.admitted(image_name, image):
            self._images.records.put(ImageRecord(image_name.owner, image_name.name, image.folder, time.time()))

    def _check_account(self, image_name: ImageName) -> None:
        """A job takes minutes, in which its user may be removed, and another be added under the name."""
        account = self._images.records.account_of(image_name.owner)
        if account != self._locked.get(image_name, account):
            raise Denied(f"the account of {image_name.owner} has ended meanwhile")

    def copy_tree(self, image: Image, staging_folder: Path) -> Path:
        """`staging_folder`/tree: hard links to the image. A file in it must be replaced, never written to."""
        tree = staging_folder / TREE
        run(["cp", "--archive", "--link", str(image.tree), str(tree)], timeout=COPY_LIMIT_S)
        return tree

    def remove_orphans(self) -> None:
        """Remove users' folders that no image and no running node uses, and what a killed process left behind."""
        used = {record.folder for record in self._images.records.all()} | self._in_use() | self._in_progress
        for folder in set(self._images.user_folders()) - used - {*self._kept}:
            self._images.remove(folder)
        for leftover in (self._images.folder / self._images.records.users_folder).glob(".new-*"):
            if str(leftover) not in self._in_progress:
                remove_tree(leftover)
