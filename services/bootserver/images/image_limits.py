"""How many images a user may have, and how large they may be together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from services.bootserver.images.image_names import ImageName
from services.bootserver.images.store import Image, ImageStore
from walt.contracts.bootserver import ImageUse
from walt.contracts.errors import LimitReached
from walt.contracts.limits import UserLimits
from walt.contracts.units import format_disk, format_size


class ImageLimits:
    """`get_limits(user)`: asks the service nodes."""

    def __init__(self, images: ImageStore, get_limits: Callable[[str], UserLimits]) -> None:
        self._images = images
        self._get_limits = get_limits
        self._one_at_a_time = threading.Lock()

    def use(self, owner: str, besides: ImageName | None = None) -> ImageUse:
        """Of the images of this owner, without that one, which is to be replaced."""
        own = [str(one.image_name) for one in self._images.records.all() if one.owner == owner]
        views = self._images.views(name for name in own if name != str(besides))
        return ImageUse(len(views), sum(view.size_bytes for view in views))

    def bytes_left(self, image_name: ImageName) -> int | None:
        """For this image; None: as much as there is."""
        allowed = self._get_limits(image_name.owner).image_bytes
        return None if allowed is None else max(0, allowed - self.use(image_name.owner, image_name).image_bytes)

    @contextlib.contextmanager
    def admitted(self, image_name: ImageName, image: Image) -> Iterator[None]:
        """As `check`; what makes it an image happens inside, so that of two that pass the limit one is refused."""
        with self._one_at_a_time:
            self.check(image_name, image)
            yield

    def check(self, image_name: ImageName, image: Image | None = None) -> None:
        """LimitReached when the owner must not have this image besides the others. image: once its tree is whole."""
        allowed, others = self._get_limits(image_name.owner), self.use(image_name.owner, image_name)
        if allowed.images is not None and others.images >= allowed.images:
            raise LimitReached(
                f"images: {image_name.owner} has {others.images} besides '{image_name}'; "
                f"allowed: {allowed.images} (walt user show, walt image remove)"
            )
        size_bytes = self._images.size_bytes(image) if image else 1
        if allowed.image_bytes is not None and others.image_bytes + size_bytes > allowed.image_bytes:
            found = f", and '{image_name}' would take {format_size(size_bytes)}" if image else ""
            raise LimitReached(
                f"image.space: the images of {image_name.owner} take {format_size(others.image_bytes)}{found}; "
                f"allowed: {format_disk(allowed.image_bytes)} altogether (walt user show, walt image remove)"
            )
