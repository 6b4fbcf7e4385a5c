"""Where images of users are made: in a folder whose name begins with a dot until it is whole.

Then the tree gets a folder of its own, then its record (`library.py`), and only then is it an image. Whatever else is
there belongs to nobody, and goes. Two commands never make, or end, one image at the same time.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from services.bootserver.images import Image, ImageStore
from services.bootserver.library import Record
from services.bootserver.names import ImageName
from services.contracts.errors import Conflict
from services.kit.commands import run

REMOVE_LIMIT_S = 600
COPY_LIMIT_S = 600
IMAGES_PER_USER = 200  # all of them are looked through now and then
TREE = "tree"  # in the workplace: what is to become the image


class Workshop:
    """`in_use()`: folders of the images that nodes run."""

    def __init__(self, images: ImageStore, in_use: Callable[[], set[str]]) -> None:
        self._images = images
        self._in_use = in_use
        self._making: set[str] = set()
        self._read: list[str] = []
        self._held: set[ImageName] = set()

    @contextlib.contextmanager
    def hold(self, *titles: ImageName) -> Iterator[None]:
        """Nobody else makes, renames or removes these meanwhile."""
        for title in titles:
            if title in self._held:
                raise Conflict(f"another command is at work on image '{title}'; allowed: once that has ended")
        self._held.update(titles)
        try:
            yield
        finally:
            self._held.difference_update(titles)

    def check_new(self, title: ImageName, force: bool) -> None:
        self.check_free(title, force)
        others = sum(record.owner == title.owner for record in self._images.library.all() if record.title != title)
        if others >= IMAGES_PER_USER:
            raise Conflict(
                f"you have {others} images besides '{title}'; allowed: {IMAGES_PER_USER} (walt image remove)"
            )

    def check_free(self, title: ImageName, force: bool) -> None:
        if self._images.library.find(title) and not force:
            raise Conflict(f"image '{title}' is there already; allowed: another name, or --force to replace it")

    @contextlib.contextmanager
    def place(self) -> Iterator[Path]:
        """In the same file system as the images, and in nobody's reach but root's: users' set-uid programs lie here."""
        users = self._images.folder / self._images.library.home
        users.mkdir(mode=0o700, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".new-", dir=users))
        self._making.add(str(place))
        try:
            yield place
        finally:
            _remove(place)
            self._making.discard(str(place))

    @contextlib.contextmanager
    def reading(self, folder: str) -> Iterator[None]:
        """The folder of an image stays, whatever becomes of the image and its nodes meanwhile."""
        self._read.append(folder)
        try:
            yield
        finally:
            self._read.remove(folder)

    def finish(self, place: Path, title: ImageName) -> Image:
        """`place`/tree, whole and bootable, becomes the image of that name, in place of one that had it."""
        folder = self._images.library.new_folder()
        self._making.add(folder)
        try:
            (place / TREE).rename(self._images.folder / folder)
            self._images.files(self._images.at(folder, str(title)))
            self._images.library.put(Record(title.owner, title.name, folder, time.time()))
        except BaseException:
            self._images.forget(folder)
            raise
        finally:
            self._making.discard(folder)
        self.sweep()
        return self._images.find(str(title))

    def copy(self, image: Image, place: Path) -> Path:
        """`place`/tree: hard links to the image. Nothing in it may be written to, only replaced."""
        run(["cp", "--archive", "--link", str(image.tree), str(place / TREE)], timeout=COPY_LIMIT_S)
        return place / TREE

    def sweep(self) -> None:
        """Folders of users' images that no image and no running node has; ends of what was killed half-way."""
        records = {record.folder for record in self._images.library.all()}
        for folder in set(self._images.user_folders()) - records - self._in_use() - self._making - {*self._read}:
            self._images.forget(folder)
        for place in (self._images.folder / self._images.library.home).glob(".new-*"):
            if str(place) not in self._making:
                _remove(place)


def _remove(place: Path) -> None:
    run(["rm", "-rf", "--one-file-system", str(place)], timeout=REMOVE_LIMIT_S)
