"""What users do with their images as a whole: clone, rename, remove; and which nodes an image is wanted by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from services.bootserver import names
from services.bootserver.images import ImageStore
from services.bootserver.library import Record
from services.bootserver.names import ImageName
from services.bootserver.workshop import Workshop
from services.contracts import nodes
from services.contracts.bootserver import ImageChanged
from services.contracts.errors import Conflict, Denied, NotFound, Unreachable
from services.contracts.nodes import NodeWanted


class Catalogue:
    """`wanted()`: all nodes, asked of nodes."""

    def __init__(self, images: ImageStore, workshop: Workshop, wanted: Callable[[], list[NodeWanted]]) -> None:
        self._images = images
        self._workshop = workshop
        self._wanted = wanted

    def own(self, text: str, user: str) -> ImageName:
        """The image of that name that this user may change, boot or not."""
        title = names.own(text, user)
        if self._images.library.find(title) is not None:
            return title
        if text in self._images.platform_names():
            raise Denied(f"'{text}' is the platform's; allowed: to change a clone of it: walt image clone {text} NAME")
        mine = [name for name in self._images.names_of(user) if names.parse(name).owner]
        raise NotFound(f"you have no image '{title.name}'; you have: {', '.join(mine) or 'none'}")

    def clone(self, user: str, image: str, name: str, force: bool) -> ImageChanged:
        source, title = self._images.meant(image, user), names.new(name, user)
        if names.parse(source.name) == title:
            raise Conflict(f"'{title}' is that image itself; allowed: another name")
        with self._workshop.hold(title):
            self._workshop.check_new(title, force)
            if source.folder.startswith(f"{self._images.library.home}/"):  # its content never changes: it is shared
                self._images.library.put(Record(title.owner, title.name, source.folder, time.time()))
                self._workshop.sweep()
            else:  # of the platform, whose operator may take it away
                with self._workshop.place() as place:
                    self._workshop.copy(source, place)
                    self._workshop.finish(place, title)
        return self.changed(title)

    def rename(self, user: str, image: str, name: str) -> ImageChanged:
        old, new = self.own(image, user), names.new(name, user)
        with self._workshop.hold(*{old, new}):
            self._workshop.check_free(new, force=False)
            self._check_unused(old, "renamed")
            record = self._images.library.find(old)
            if record is None:
                raise NotFound(f"there is no image '{old}'")
            self._images.library.put(replace(record, name=new.name))
            self._images.library.remove(old)
        return self.changed(new)

    def remove(self, user: str, image: str, force: bool) -> None:
        title = self.own(image, user)
        with self._workshop.hold(title):
            self._check_unused(title, "removed")
            if not force:
                raise Conflict(f"all that is in image '{title}' would be lost; allowed: --force")
            self._images.library.remove(title)
            self._workshop.sweep()

    def changed(self, title: ImageName, notes: Sequence[str] = ()) -> ImageChanged:
        """It has changed, whether nodes can tell who uses it or not."""
        (view,) = self._images.views([str(title)])
        try:
            mine = tuple(node.name for node in self._users_of(title) if node.owner == title.owner)
        except Unreachable as why:
            return ImageChanged(view, (*notes, f"which nodes use it cannot be told ({why})"))
        return ImageChanged(view, tuple(notes), mine)

    def _check_unused(self, title: ImageName, what: str) -> None:
        users = [node.name for node in self._users_of(title)]
        if users:
            raise Conflict(
                f"image '{title}' is used by {', '.join(users)} and cannot be {what}; allowed: once they boot another "
                f"(walt node boot {','.join(users)} IMAGE)"
            )

    def _users_of(self, title: ImageName) -> list[NodeWanted]:
        return [node for node in self._wanted() if node.image == str(title) and node.power != nodes.ABSENT]
