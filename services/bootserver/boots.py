"""The boots of all nodes: plan, publish, serve, watch, forget. Brings the stores and the pure plan together."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.bootserver import bootplan, health, plans
from services.bootserver.access import KeyStore
from services.bootserver.bootplan import Root, Site
from services.bootserver.images import ImageStore
from services.bootserver.metrics import BOOT_SECONDS
from services.bootserver.persist import PersistStore
from services.bootserver.plans import PlanStore, Published
from services.bootserver.watch import BootWatches
from services.contracts.bootserver import BootPlan, BootRequest, ImageView, NodeAccess, NodeBooted
from services.contracts.errors import Denied, Failed, NotFound
from services.contracts.health import Check
from services.kit.commands import stream

log = logging.getLogger(__name__)

ROOT = "root"


@dataclass(frozen=True)
class World:
    """What bootserver asks of the network: whether NFS and DNS answer ('' or why not), whether an ssh server greets."""

    nfs_fault: Callable[[], str]
    dns_fault: Callable[[], str]
    greets: Callable[[str], bool]


class Boots:
    """`booted` is told the end of each boot, and once more after a restart of this service."""

    def __init__(self, site: Site, images: ImageStore, state: Path, world: World, booted: Callable[[NodeBooted], None]):
        self.images = images
        self._site = site
        self._world = world
        self._booted = booted
        self._keys = KeyStore(state / "keys")
        self._plans = PlanStore(state / "plans")
        self.persist = PersistStore(state)
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
        image = self.images.find(request.image)
        self.images.files(image)
        fault = self._world.nfs_fault()
        if fault:
            raise Failed(f"the NFS server does not answer at {self._site.server} ({fault})")
        self._keys.node(request.node_id)
        known = self._plans.find(request.node_id)
        published = plans.publish(known, request, image.folder, time.time())
        self._export(published)
        if published is not known:
            self._plans.put(published)
        self._watches.watch(published)
        return bootplan.answer(request, self._site)

    def _export(self, published: Published) -> None:
        request = published.request
        self.persist.grant_image(request.node_id, published.folder, request.ip)
        if self.images.at(published.folder, request.image).has_script:
            self.persist.grant_own_root(request.node_id, request.mac, published.folder, request.ip)
        else:
            self.persist.revoke_own_root(request.node_id)
        if request.owner:
            self.persist.grant(request.node_id, request.owner, request.ip)
        else:
            self.persist.revoke(request.node_id)

    def withdraw(self, node_id: int) -> None:
        self._watches.stop(node_id)
        self.persist.revoke(node_id)
        self.persist.revoke_image(node_id)
        self.persist.revoke_own_root(node_id)
        self._plans.remove(node_id)

    def forget(self, node_id: int) -> None:
        self.withdraw(node_id)
        self._keys.forget_node(node_id)
        self.persist.forget(node_id)

    def known(self) -> set[int]:
        """Nodes of which there is a plan, a key or a /persist."""
        return self._plans.known() | self._keys.known() | self.persist.known()

    def forget_all(self, gone: Iterable[int]) -> None:
        for node_id in gone:
            log.warning("node %d is not known to nodes: its plan, keys and /persist are removed", node_id)
            self.forget(node_id)

    def published(self, node_id: int) -> Published:
        return self._plans.get(node_id)

    def folders(self) -> set[str]:
        """Of the images that nodes run."""
        return {published.folder for published in self._plans.all()}

    def last_boots(self) -> dict[int, float]:
        """Seconds that the last boot of each node took, of those that have booted."""
        booted = [one for one in self._plans.all() if one.booted_at]
        return {one.request.node_id: one.booted_at - one.published_at for one in booted}

    def access(self, node_id: int) -> NodeAccess:
        request = self._plans.get(node_id).request
        host_key = " ".join(self._keys.node(node_id).public.split()[:2])
        return NodeAccess(request.ip, ROOT, self._keys.platform().private, host_key)

    def of_virtual_node(self, mac: str, asked_from: str) -> int | None:
        """The node with this MAC, whose own iPXE asks."""
        for published in self._plans.all():
            if published.request.mac == mac and published.request.is_virtual:
                _for_itself(published.request, asked_from)
                return published.request.node_id
        return None

    def at_address(self, ip: str) -> Published:
        for published in self._plans.all():
            if published.request.ip == ip:
                return published
        raise NotFound(f"no boot is published for {ip}")

    def script(self, node_id: int) -> str:
        published = self._plans.get(node_id)
        request = published.request
        image = self.images.at(published.folder, request.image)
        if image.has_script:
            return bootplan.own_script(request, self._site)
        root = Root(image.folder, self.images.size_bytes(image), image.is_kernel_lent)
        return bootplan.script(request, root, self.images.files(image), self._site)

    def image_tar(self, node_id: int, asked_from: str) -> Iterator[bytes]:
        """The node's image as one stream: for a copy on its disk, over NFS each small file would take several calls."""
        published = self._plans.get(node_id)
        _for_itself(published.request, asked_from)
        image = self.images.at(published.folder, published.request.image)
        return stream(["tar", "--create", "--numeric-owner", f"--directory={image.tree}", "."])

    def seed(self, node_id: int, asked_from: str) -> bytes:
        """The node's secrets, for the node only."""
        request = self._plans.get(node_id).request
        _for_itself(request, asked_from)
        return bootplan.seed(request, self._keys.keys(node_id), self._site)

    def list_images(self) -> list[ImageView]:
        return [self.images.view(self.images.find(name)) for name in self.images.names()]

    def diagnose(self) -> list[Check]:
        fault = self._world.nfs_fault()
        return [
            health.nfs(fault, self._site.server),
            health.dns(self._world.dns_fault(), self._site.server),
            *(health.image(name, self._image_fault(name)) for name in self.images.names()),
            health.space(self.images.folder, shutil.disk_usage(self.images.folder).free),
        ]

    def _image_fault(self, name: str) -> str:
        try:
            self.images.find(name)
        except Failed as fault:
            return str(fault)
        return ""

    def _on_greeting(self, published: Published, at: float) -> None:
        if not self._plans.put_booted(published, at):
            return
        BOOT_SECONDS.observe(at - published.published_at)
        request = published.request
        log.info("%s has booted in %.1f s (run %d)", request.name, at - published.published_at, request.run)
        self._tell(published, at)

    def _tell(self, published: Published, at: float) -> None:
        self._booted(NodeBooted(published.request.node_id, published.request.run, at))


def _for_itself(request: BootRequest, asked_from: str) -> None:
    if asked_from != request.ip:
        raise Denied(f"what {request.name} boots is served to {request.ip} only, not to {asked_from}")
