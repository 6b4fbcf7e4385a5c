"""`self.here`: the boots, the saving of nodes, the names of walt-net and the physical nodes, made from its environment and kept in step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from services.bootserver import bootplan, diagnosis, dns, dnsping, machines, nfsping, watch, zone
from services.bootserver.boots import Boots, World
from services.bootserver.catalogue import Catalogue
from services.bootserver.images import ImageStore, parse_platform_images
from services.bootserver.jobs import Jobs
from services.bootserver.library import Library
from services.bootserver.machines import Machines, Outside
from services.bootserver.making import Maker
from services.bootserver.metrics import BootCollector
from services.bootserver.netboot import NetBoot
from services.bootserver.nfs import IMAGES_DIR
from services.bootserver.ownboot import OwnFiles
from services.bootserver.pages import Pages
from services.bootserver.persist import PersistStore
from services.bootserver.saving import Saver
from services.bootserver.stores import stores
from services.bootserver.transfers import Transfers
from services.bootserver.workshop import Workshop
from services.bootserver.zone import Zone
from services.contracts import nodes, wire
from services.contracts.bootserver import MACHINE_CHANGED, MACHINE_REMOVED, NODE_BOOTED, NODE_COPYING, NodeBooted
from services.contracts.health import Check
from services.contracts.nodes import NodeRemoved, NodeTarget, NodeWanted
from services.kit import peers
from services.kit.environment import environment, variable
from services.kit.metrics import watch_space
from services.kit.peers import Announcer
from services.kit.reconciliation import keep_in_step
from services.kit.registry import RegistryGuard

HTTP_ADDRESS = "0.0.0.0:80"
RECONCILE_S = 300.0  # an event may be lost


class Here(Announcer):
    """An `Announcer`, because a boot ends outside of any call."""

    boots: Boots
    catalogue: Catalogue
    diagnose: Callable[[], list[Check]]
    images: ImageStore
    jobs: Jobs
    maker: Maker
    own_files: OwnFiles
    pages: Pages
    persist: PersistStore
    saver: Saver
    transfers: Transfers
    workshop: Workshop
    zone: Zone
    machines: Machines
    netboot: NetBoot

    def setup(self) -> None:
        env = environment()
        state = env.state_dir / "bootserver"
        site = bootplan.site(env.subnet, variable("WALT_HTTP_ADDRESS", HTTP_ADDRESS))
        self.registry = RegistryGuard(state)
        self.images = images = _image_store(state)
        kept = stores(images, state)
        self.persist = kept.persist
        self.zone = Zone(dns.names_folder(env.state_dir), dns.leases_folder(env.state_dir), site.server)
        world = World(
            lambda paths: nfsping.ping(site.server, paths),
            lambda: dnsping.ping(site.server, zone.SERVER),
            lambda address: watch.greets(address),
        )
        self.diagnose = lambda: diagnosis.diagnose(site, kept, world)
        self.boots = Boots(site, kept, world, self._booted)
        self.pages = Pages(site, kept, lambda news: self.announce(NODE_COPYING, news))
        self.machines = Machines(state / "machines", self._outside(world))
        self.netboot = NetBoot(site, self.boots, self.pages, self.machines)
        self.own_files = OwnFiles(site, kept)
        self.workshop, self.jobs = Workshop(images, kept.plans.folders), Jobs()
        self.catalogue = Catalogue(images, self.workshop, wanted_everywhere)
        self.saver = Saver(self.pages, self.workshop, self.catalogue, self.jobs, authorize)
        self.transfers = Transfers(state / "transfers")
        self.maker = Maker(images, self.workshop, self.catalogue, self.jobs, self.transfers)
        self._collector = BootCollector(
            self.zone.names,
            kept.plans.last_boots,
            lambda: world.nfs_fault(kept.persist.image_paths()),
            world.dns_fault,
            lambda: len(images.names()),
        )
        watch_space("images", images.folder)

    def _outside(self, world: World) -> Outside:
        return Outside(
            world.greets,
            lambda address: watch.connects(address),
            machines.tell,
            lambda report: self.announce(MACHINE_CHANGED, report),
            lambda gone: self.announce(MACHINE_REMOVED, gone),
        )

    def start(self) -> None:
        REGISTRY.register(self._collector)
        self.zone.write()
        self.machines.start()
        self.boots.start()
        self.workshop.sweep()
        self.container.spawn_managed_thread(self.machines.probe_for_ever, identifier="probe")
        self.container.spawn_managed_thread(lambda: keep_in_step(self._reconcile, RECONCILE_S), identifier="reconcile")

    def stop(self) -> None:
        REGISTRY.unregister(self._collector)
        self.boots.stop()

    def get_dependency(self, worker_ctx: Any) -> Any:
        return self

    def _booted(self, news: NodeBooted) -> None:
        self.announce(NODE_BOOTED, news)
        self.machines.booted(news)

    def remove(self, removed: NodeRemoved) -> None:
        if self.registry.allows(f"the removal of {removed.name}"):
            self.zone.forget(removed.id)
            self.machines.forget(removed.id)
            self.boots.forget(removed.id)

    def _reconcile(self) -> None:
        self.transfers.drop_idle()
        self.registry.check()
        known, names, machines_known = self.boots.known(), self.zone.known(), self.machines.known()
        wanted = wanted_everywhere()
        self.zone.replace(wanted, names)
        self.machines.reconcile(wanted)
        self.boots.forget_all(known - {one.id for one in wanted})
        for node_id in machines_known - {one.id for one in wanted}:
            self.machines.forget(node_id)
        self.workshop.sweep()


def _image_store(state: Path) -> ImageStore:
    folder = Path(variable("WALT_IMAGES_DIR", IMAGES_DIR))
    platform = parse_platform_images(variable("WALT_PLATFORM_IMAGES", ""))
    library = Library(folder, variable("WALT_USER_IMAGES", "users"))
    return ImageStore(folder, platform, library, state / "images")


def authorize(user: str, node: str, action: str) -> NodeTarget:
    return wire.load(NodeTarget, peers.call(nodes.SERVICE, "authorize", user=user, name=node, action=action))


def wanted_everywhere() -> list[NodeWanted]:
    return wire.load_all(NodeWanted, peers.call(nodes.SERVICE, "wanted_everywhere"))
