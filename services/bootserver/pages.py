"""What a published boot gives: its script, seed and image to the node itself, the access to the node to its peers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from services.bootserver import bootplan
from services.bootserver.bootplan import Root, Site
from services.bootserver.plans import Published
from services.bootserver.stores import Stores
from services.contracts.bootserver import BootRequest, NodeAccess, NodeCopying
from services.contracts.errors import Denied, Failed
from services.kit.commands import stream

log = logging.getLogger(__name__)

ROOT = "root"
TELL_EVERY_S = 10.0  # less than any boot.timeout


class Pages:
    """`asked_from`: the address that a page is asked from, by which a node is known; `copying` is told now and then of a
    node that takes its image."""

    def __init__(self, site: Site, stores: Stores, copying: Callable[[NodeCopying], None]) -> None:
        self.images = stores.images
        self._site = site
        self._plans = stores.plans
        self._keys = stores.keys
        self._copying = copying

    def script(self, node_id: int, asked_from: str) -> str:
        """For the node, and for vmrunner in its place."""
        published = self._plans.get(node_id)
        request = published.request
        if asked_from not in self._site.own:
            _for_itself(request, asked_from)
        image = self.images.at(published.folder, request.image)
        if image.has_script:
            return bootplan.own_script(request, self._site)
        root = Root(image.folder, self.images.size_bytes(image), image.is_kernel_lent)
        return bootplan.script(request, root, self.images.files(image), self._site)

    def seed(self, node_id: int, asked_from: str) -> bytes:
        """The node's secrets, for the node only."""
        request = self._plans.get(node_id).request
        _for_itself(request, asked_from)
        return bootplan.seed(request, self._keys.keys(node_id), self._site)

    def image_tar(self, node_id: int, asked_from: str) -> Iterator[bytes]:
        """The node's image as one stream: for a copy on its disk, over NFS each small file would take several calls."""
        published = self._plans.get(node_id)
        _for_itself(published.request, asked_from)
        image = self.images.at(published.folder, published.request.image)
        tar = stream(["tar", "--create", "--numeric-owner", f"--directory={image.tree}", "."])
        return self._told(tar, published.request)

    def _told(self, pieces: Iterator[bytes], request: BootRequest) -> Iterator[bytes]:
        """A piece is asked for when the one before was taken."""
        due = time.monotonic() + TELL_EVERY_S
        try:
            for piece in pieces:
                yield piece
                if time.monotonic() >= due:
                    self._copying(NodeCopying(request.node_id, request.run))
                    due = time.monotonic() + TELL_EVERY_S
        except Failed as error:
            log.error("%s is sent no whole image %s: %s", request.name, request.image, error)
            raise

    def published(self, node_id: int) -> Published:
        return self._plans.get(node_id)

    def access(self, node_id: int) -> NodeAccess:
        request = self._plans.get(node_id).request
        host_key = " ".join(self._keys.node(node_id).public.split()[:2])
        return NodeAccess(request.ip, ROOT, self._keys.platform().private, host_key)


def _for_itself(request: BootRequest, asked_from: str) -> None:
    if asked_from != request.ip:
        raise Denied(f"what {request.name} boots is served to {request.ip} only, not to {asked_from}")
