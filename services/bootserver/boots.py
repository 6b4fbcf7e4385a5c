"""The life of a boot: published, watched until the node has booted, forgotten with it.

What a published boot gives to its node is in `pages.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from services.bootserver import bootplan, exports, plans
from services.bootserver.bootplan import Site
from services.bootserver.images import Image
from services.bootserver.metrics import BOOT_SECONDS
from services.bootserver.plans import Published
from services.bootserver.stores import Stores
from services.bootserver.watch import BootWatches
from services.contracts.bootserver import BootPlan, BootRequest, NodeBooted
from services.contracts.errors import Failed

EXPORT_LIMIT_S = 5.0
EXPORT_LOOK_S = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """What bootserver asks of the network: whether NFS answers and exports these paths, and whether DNS answers ('' or
    why not); whether an ssh server greets."""

    nfs_fault: Callable[[Sequence[str]], str]
    dns_fault: Callable[[], str]
    greets: Callable[[str], bool]


class Boots:
    """`booted` is told the end of each boot, and once more after a restart of this service."""

    def __init__(self, site: Site, stores: Stores, world: World, booted: Callable[[NodeBooted], None]) -> None:
        self._site = site
        self._world = world
        self._booted = booted
        self._images = stores.images
        self._plans = stores.plans
        self._keys = stores.keys
        self._persist = stores.persist
        self._watches = BootWatches(self._on_greeting, world.greets)

    def start(self) -> None:
        """Watch again what was booting when this service ended; tell again what had booted, should the broker have
        been away when it was told."""
        for published in self._plans.all():
            self._watches.watch(published)
            if published.booted_at:
                self._tell(published, published.booted_at)

    def stop(self) -> None:
        self._watches.stop_all()

    def publish(self, request: BootRequest) -> BootPlan:
        self._images.files(self._images.find(request.image))
        fault = self._world.nfs_fault(())
        if fault:
            raise Failed(f"the NFS server does not answer at {self._site.server} ({fault})")
        self._keys.node(request.node_id)
        # Its user may have replaced the image during all this, and its folder went with it. Nothing from here on waits
        # until the plan holds the folder.
        image = self._images.find(request.image)
        known = self._plans.find(request.node_id)
        published = plans.publish(known, request, image.folder, time.time())
        self._export(published)
        if published is not known:
            self._plans.put(published)
        self._wait_for_export(image)
        self._watches.watch(published)
        return bootplan.answer(request, self._site)

    def _export(self, published: Published) -> None:
        request = published.request
        self._persist.grant_image(request.node_id, published.folder, request.ip)
        if self._images.at(published.folder, request.image).has_script:
            self._persist.grant_own_root(request.node_id, request.mac, published.folder, request.ip)
        else:
            self._persist.revoke_own_root(request.node_id)
        if request.owner:
            self._persist.grant(request.node_id, request.owner, request.ip)
        else:
            self._persist.revoke(request.node_id)

    def _wait_for_export(self, image: Image) -> None:
        """The NFS server is told of a new export by a file (`nfs.py`)."""
        end = time.monotonic() + EXPORT_LIMIT_S
        while fault := self._world.nfs_fault([exports.image_path(image.folder)]):
            if time.monotonic() > end:
                raise Failed(f"the NFS server does not export image '{image.name}' ({fault})")
            time.sleep(EXPORT_LOOK_S)

    def forget(self, node_id: int) -> None:
        self._watches.stop(node_id)
        self._persist.revoke_image(node_id)
        self._persist.revoke_own_root(node_id)
        self._plans.remove(node_id)
        self._keys.forget_node(node_id)
        self._persist.forget(node_id)

    def known(self) -> set[int]:
        """Nodes of which there is a plan, a key or a /persist."""
        return self._plans.known() | self._keys.known() | self._persist.known()

    def forget_all(self, gone: Iterable[int]) -> None:
        for node_id in gone:
            log.warning("node %d is not known to nodes: its plan, keys and /persist are removed", node_id)
            self.forget(node_id)

    def _on_greeting(self, published: Published, at: float) -> None:
        try:
            if not self._plans.put_booted(published, at):
                return
        except OSError as error:  # of a full disk; the node has booted all the same
            log.error("%s: that it has booted cannot be saved: %s", published.request.name, error)
        BOOT_SECONDS.observe(at - published.published_at)
        request = published.request
        log.info("%s has booted in %.1f s (run %d)", request.name, at - published.published_at, request.run)
        self._tell(published, at)

    def _tell(self, published: Published, at: float) -> None:
        self._booted(NodeBooted(published.request.node_id, published.request.run, at))
