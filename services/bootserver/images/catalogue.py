"""What users do with whole images: clone, rename, remove; and which nodes use an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from services.bootserver.images import image_names
from services.bootserver.images.image_names import ImageName
from services.bootserver.images.image_users import ImageUsers
from services.bootserver.images.staging import Staging
from services.bootserver.images.store import ImageStore
from walt.contracts import nodes
from walt.contracts.bootserver import ImageChanged
from walt.contracts.errors import Conflict, Denied, NeedsForce, NotFound, Unreachable
from walt.contracts.nodes import NodeWanted


class Catalogue:
    """`wanted()`: the specs of all nodes."""

    def __init__(
        self, images: ImageStore, staging: Staging, users: ImageUsers, wanted: Callable[[], list[NodeWanted]]
    ) -> None:
        self._images = images
        self._staging = staging
        self._users = users
        self._wanted = wanted

    def find_owned(self, text: str, user: str) -> ImageName:
        """The image of that name that this user may change, whether it boots or not."""
        image_name = image_names.owned_name(text, user)
        if self._images.records.find(image_name) is not None:
            return image_name
        if text in self._images.platform_names():
            raise Denied(f"'{text}' is the platform's; allowed: to change a clone of it: walt image clone {text} NAME")
        owned = [name for name in self._images.names_for(user) if image_names.parse(name).owner]
        raise NotFound(f"you have no image '{image_name.name}'; you have: {', '.join(owned) or 'none'}")

    def clone(self, user: str, image: str, name: str, force: bool) -> ImageChanged:
        source, target = self._images.resolve(image, user), image_names.new_name(name, user)
        if image_names.parse(source.name) == target:
            raise Conflict(f"'{target}' is that image itself; allowed: another name")
        with self._staging.lock(target):
            self._staging.check_may_create(target, force)
            if self._images.is_user_folder(source.folder):
                self._staging.share(source, target)
            else:  # the operator may take an image of the platform away, so a clone needs a tree of its own
                with self._staging.folder() as folder:
                    self._staging.copy_tree(source, folder)
                    self._staging.install(folder, target)
        return self.describe_change(target)

    def rename(self, user: str, image: str, name: str) -> ImageChanged:
        """Also gives an image of an account that has ended to a user."""
        if image_names.is_set_aside(image):
            old, new = self._users.find_former(user, image), self._users.receiver(user, name)
        else:
            old, new = self.find_owned(image, user), image_names.new_name(name, user)
        with self._staging.lock(*{old, new}):
            self._staging.check_name_free(new)
            self._check_unused(old, "renamed")
            record = self._images.records.find(old)
            if record is None:
                raise NotFound(f"there is no image '{old}'")
            self._images.records.put(replace(record, owner=new.owner, name=new.name))
            self._images.records.remove(old)
        return self.describe_change(new)

    def remove(self, user: str, image: str, force: bool) -> None:
        is_former = image_names.is_set_aside(image)
        image_name = self._users.find_former(user, image) if is_former else self.find_owned(image, user)
        with self._staging.lock(image_name):
            self._check_unused(image_name, "removed")
            if not force:
                raise NeedsForce(f"all that is in image '{image_name}' would be lost; allowed: --force")
            self._images.records.remove(image_name)
            self._staging.remove_orphans()

    def describe_change(self, image_name: ImageName, notes: Sequence[str] = ()) -> ImageChanged:
        """If `nodes` is unreachable, still report the (completed) change, without the list of nodes using the image."""
        (view,) = self._images.views([str(image_name)])
        try:
            owners_nodes = tuple(node.name for node in self._nodes_using(image_name) if node.owner == image_name.owner)
        except Unreachable as error:
            return ImageChanged(view, (*notes, f"it is not known which nodes use it ({error})"))
        return ImageChanged(view, tuple(notes), owners_nodes)

    def _check_unused(self, image_name: ImageName, action: str) -> None:
        users = [node.name for node in self._nodes_using(image_name)]
        if users:
            raise Conflict(
                f"image '{image_name}' is used by {', '.join(users)} and cannot be {action}; allowed: once they boot "
                f"another (walt node boot {','.join(users)} IMAGE)"
            )

    def _nodes_using(self, image_name: ImageName) -> list[NodeWanted]:
        return [node for node in self._wanted() if node.image == str(image_name) and node.power != nodes.ABSENT]
