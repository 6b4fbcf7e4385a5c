"""The composition root of bootserver: makes its parts, connects them and keeps them in step with nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import REGISTRY

from services.bootserver import health
from services.bootserver.addresses import live_addresses
from services.bootserver.addresses.live_addresses import LiveAddresses
from services.bootserver.boot import boot_script, ssh_probe
from services.bootserver.boot.boot_payload import BootPayload
from services.bootserver.boot.boot_records import BootRecord, BootRecordStore
from services.bootserver.boot.boots import BootReports, Boots, BootStores, Probes
from services.bootserver.boot.own_script_files import OwnScriptFiles
from services.bootserver.boot.ssh_keys import KeyStore
from services.bootserver.dns import dns_probe, dnsmasq, zone
from services.bootserver.dns.zone import Zone
from services.bootserver.docker_images import docker_sources
from services.bootserver.docker_images import protocol as docker_images
from services.bootserver.docker_images.docker_sources import DockerSources
from services.bootserver.images.catalogue import Catalogue
from services.bootserver.images.image_limits import ImageLimits
from services.bootserver.images.image_records import ImageRecords
from services.bootserver.images.image_users import ImageUsers
from services.bootserver.images.importer import ImageImporter
from services.bootserver.images.jobs import Jobs
from services.bootserver.images.save_node import NodeSaver, RunningNodes
from services.bootserver.images.staging import Staging
from services.bootserver.images.store import ImageStore, parse_platform_images
from services.bootserver.images.transfers import Transfers
from services.bootserver.metrics import BootCollector
from services.bootserver.ntp import ntp_probe
from services.bootserver.persist import export_files
from services.bootserver.persist.persist_store import PersistStore
from services.bootserver.physical.machine import Machine
from services.bootserver.physical.machines import MachineEffects, Machines
from services.bootserver.physical.pxe import PxeBoot
from services.bootserver.request_budget import RequestBudget
from services.bootserver.site import make_site
from services.kit import tasks
from services.kit.bus.bus import Bus
from services.kit.environment import Environment
from services.kit.guest_command import ask_guest, run_in_guest
from services.kit.metrics import watch_space
from services.kit.reconcile_loop import keep_in_step
from services.kit.registry_guard import RegistryGuard
from services.kit.removed_nodes import RemovedNodes
from services.kit.tasks import Task
from services.kit.web import pages
from walt.contracts import bootserver, nodes, serialization
from walt.contracts.bootserver import BootRequest, ImageUse, ImageView, NodeAccess, NodeBooted
from walt.contracts.checks import Check
from walt.contracts.console import CommandResult
from walt.contracts.errors import Denied, Failed
from walt.contracts.hosts import HostAddresses, HostView
from walt.contracts.limits import UserLimits
from walt.contracts.nodes import NodeRemoved, NodeTarget, NodeWanted, Owner, Specs

COMMAND_LIMIT_S = 15.0  # of a reboot or poweroff command
ADDRESSES_LIMIT_S = 30.0  # of the setting of addresses, in a busy node
IMAGES_DIR = "/var/cache/walt/images"
BURST, REFILL_S = 8, 2.0  # requests of one address that look through all images
PROBE_EVERY_S = 20.0  # of each physical machine
RECONCILE_S = 300.0  # an event may be lost


class BootserverApp:
    def __init__(self, env: Environment, bus: Bus) -> None:
        state = env.state_dir / bootserver.SERVICE
        self._bus = bus
        self._unknown_files = RequestBudget(BURST, REFILL_S)
        self._loops: list[Task] = []
        self._site = make_site(env.subnet, pages.address(env)[1])
        self._registry = RegistryGuard(state, bootserver.SERVICE, bus.call)
        self._removed = RemovedNodes()
        self._probes = Probes(
            lambda: export_files.query_fault(state),
            lambda: dns_probe.query_fault(self._site.server, zone.SERVER),
            lambda: ntp_probe.query_fault(self._site.server),
            lambda address: ssh_probe.sends_banner(address),
            lambda address: ssh_probe.is_up(address, ssh_probe.CLOSED_PORT),
        )
        self.images = _image_store(env, state)
        self.persist = PersistStore(state)
        self.zone = Zone(dnsmasq.names_folder(env.state_dir), dnsmasq.leases_folder(env.state_dir), self._site.server)
        self._records, self._keys = BootRecordStore(state / "plans"), KeyStore(state / "keys")
        self._make_boots(state)
        self._make_image_commands(state, image_sources(env), docker_images.socket_path(env.run_dir))
        self._collector = BootCollector(
            self.zone.names,
            self._records.last_boots,
            self._probes.persist_fault,
            self._probes.dns_fault,
            self._probes.ntp_fault,
            lambda: len(self.images.names()),
        )

    def _make_boots(self, state: Path) -> None:
        site, images, records, keys = self._site, self.images, self._records, self._keys
        reports = BootReports(self._node_booted, lambda event: self._bus.announce(bootserver.NODE_REACHABLE, event))
        self.boots = Boots(site, BootStores(images, records, keys, self.persist), self._probes, reports)
        self.payload = BootPayload(
            site,
            images,
            records,
            keys,
            self.persist.device,
            lambda event: self._bus.announce(bootserver.NODE_COPYING, event),
        )
        self.own_script_files = OwnScriptFiles(images, records)
        self.addresses = LiveAddresses(
            records, self._has_own_script, lambda request: boot_script.hosts(request, site), self._ask_node
        )
        effects = MachineEffects(
            self._probes.sends_banner,
            lambda address: ssh_probe.is_up(address),
            self._run_on_machine,
            lambda report: self._bus.announce(bootserver.MACHINE_CHANGED, report),
            lambda removed: self._bus.announce(bootserver.MACHINE_REMOVED, removed),
        )
        self.machines = Machines(state / "machines", effects)
        self.pxe = PxeBoot(site, self.boots, self.payload, self.machines, self._register_machine)

    def _make_image_commands(self, state: Path, sources: DockerSources, docker_socket: Path) -> None:
        images, self.image_limits = self.images, ImageLimits(self.images, self._get_limits)
        staging = Staging(images, self.image_limits, self._records.folders)
        self._staging, self.jobs, self.transfers = staging, Jobs(), Transfers(state / "transfers")
        self.image_users = ImageUsers(images.records, self._get_account, self._get_accounts, self._check_administrator)
        self.catalogue = Catalogue(images, staging, self.image_users, lambda: list(self._specs().nodes))
        running = RunningNodes(self._authorize, self._boot_of, self.open_access)
        self.saver = NodeSaver(images.folder, staging, self.catalogue, self.jobs, running)
        self.importer = ImageImporter(
            images, staging, self.catalogue, self.jobs, self.transfers, sources, docker_socket
        )

    def start(self) -> None:
        REGISTRY.register(self._collector)
        watch_space("images", self.images.folder)
        self.zone.write()
        self.machines.start()
        self.boots.start()
        self._staging.remove_orphans()
        self._loops = [
            tasks.spawn_loop("addresses", self.addresses.turn, every_s=live_addresses.TURN_S),
            tasks.spawn_loop("probe", self.machines.probe_all, every_s=PROBE_EVERY_S),
            tasks.spawn(keep_in_step, self._reconcile, RECONCILE_S, self._registry.wake),
        ]

    def stop(self) -> None:
        for loop in self._loops:
            loop.kill()
        self.boots.stop()
        REGISTRY.unregister(self._collector)

    def check_image(self, name: str, user: Owner) -> ImageView:
        """Of a user without an account here: the platform's image."""
        has_own = user.name and self.images.records.is_bound_to(user)
        return self.images.view(self.images.resolve(name, user.name if has_own else ""))

    def get_images(self, user: str, former: bool) -> list[ImageView]:
        users, images = self.image_users, self.images
        return images.views(users.former(user) if former else images.names_for(users.identify(user)))

    def count_images(self, owner: Owner) -> ImageUse:
        """Of an account without images: none."""
        return self.image_limits.use(owner.name) if self.images.records.is_bound_to(owner) else ImageUse(0, 0)

    def diagnose(self) -> list[Check]:
        return health.diagnose(self._site, self.images, self._probes, self._registry.fault)

    def open_access(self, node_id: int) -> NodeAccess:
        return self._keys.access(node_id, self._records.get(node_id).request.ip)

    def check_is_on(self, host: str, node_id: int, boot: BootRequest | None = None) -> None:
        """host: the further host whose agent asks for something of this node, such as this boot; "": another service
        does."""
        if not host:
            return
        spec = next((one for one in self._specs(host).nodes if (one.id, one.host) == (node_id, host)), None)
        if spec is None:
            raise Denied(f"node {node_id} is not on host '{host}'; allowed to its agents: nodes that are")
        if boot is not None and not boot.is_of(spec):
            raise Denied(f"this boot of node {node_id} is not that of its spec; allowed: its MAC, ip, image and owner")

    def node_address(self, requester: str, named: str) -> str:
        return self._site.node_address(requester, named)

    def boot_file(self, digest: str, name: str, address: str) -> Path:
        """The kernel, initrd or root of that content, for the node at this address, which boots it.

        Denied to any other, and to one that keeps requesting unknown files."""
        self.pxe.file_requested(name, address)
        if not self.images.has_boot_file(digest) and not self._unknown_files.spend(address):
            raise Denied(f"{address} has requested too many unknown files; allowed: one each {REFILL_S:g} s")
        path = self.images.boot_file(digest)
        self.payload.check_boot_file(digest, address)
        return path

    def apply_spec(self, spec: NodeWanted) -> None:
        if spec.id not in self._removed and self._registry.allows(
            f"the spec of {spec.name}", spec.registry, spec.revision
        ):
            self.zone.put(spec)
            self.machines.apply_spec(spec)
            self.addresses.apply_spec(spec)

    def take_hosts(self, addresses: HostAddresses) -> None:
        self._site.vmrunner_addresses.replace(host.ip for host in addresses.hosts)

    def remove(self, removed: NodeRemoved) -> None:
        if self._registry.allows(f"the removal of {removed.name}", removed.registry, removed.revision):
            self._removed.add(removed.id)
            self.zone.forget(removed.id)
            self.machines.forget(removed.id)
            self.boots.forget(removed.id)
            self.addresses.forget(removed.id)

    def _reconcile(self) -> None:
        self.transfers.drop_idle()
        in_boots, in_zone, in_machines = self.boots.known(), self.zone.known(), self.machines.known()
        in_addresses = self.addresses.known()
        specs = self._specs()
        self._registry.check(specs.registry, specs.revision)
        self._site.vmrunner_addresses.replace(host.ip for host in self._hosts())
        wanted = {spec.id for spec in specs.nodes}
        self._removed.are_back(spec.id for spec in specs.nodes if spec.power != nodes.ABSENT)
        self.zone.replace(specs.nodes, in_zone)
        self.machines.reconcile(specs.nodes, in_machines)
        self.boots.forget_all(in_boots - wanted)
        self.addresses.replace(specs.nodes, in_addresses)
        for node_id in in_machines.keys() - wanted:
            self.machines.forget(node_id)
        self._staging.remove_orphans()
        self.image_users.reconcile()
        if names := self.persist.unbound():
            self.persist.bind_all(self._get_accounts(sorted(names)))

    def _node_booted(self, event: NodeBooted) -> None:
        self._bus.announce(bootserver.NODE_BOOTED, event)
        self.machines.booted(event)
        self.addresses.check(event.node_id)

    def _has_own_script(self, record: BootRecord) -> bool:
        try:
            return self.images.in_folder(record.folder, record.request.image).has_script
        except Failed:  # its tree has gone since; the node runs all the same
            return False

    def _boot_of(self, node_id: int) -> tuple[int, str]:
        record = self._records.get(node_id)
        return record.request.run, record.folder

    def _hosts(self) -> list[HostView]:
        return serialization.load_all(HostView, self._bus.call(nodes.SERVICE, "get_hosts"))

    def _specs(self, host: str = "") -> Specs:
        return serialization.load(Specs, self._bus.call(nodes.SERVICE, "get_specs", host=host))

    def _get_account(self, user: str) -> Owner:
        return serialization.load(Owner, self._bus.call(nodes.SERVICE, "get_account", user=user))

    def _get_limits(self, user: str) -> UserLimits:
        return serialization.load(UserLimits, self._bus.call(nodes.SERVICE, "get_limits", user=user))

    def _get_accounts(self, names: Sequence[str]) -> list[Owner]:
        return serialization.load_all(Owner, self._bus.call(nodes.SERVICE, "get_accounts", names=list(names)))

    def _check_administrator(self, user: str) -> None:
        self._bus.call(nodes.SERVICE, "check_administrator", user=user)

    def _authorize(self, user: str, node: str, action: str) -> NodeTarget:
        target = self._bus.call(nodes.SERVICE, "authorize", user=user, name=node, action=action)
        return serialization.load(NodeTarget, target)

    def _register_machine(self, mac: str, ip: str) -> NodeWanted:
        return serialization.load(NodeWanted, self._bus.call(nodes.SERVICE, "register_machine", mac=mac, ip=ip))

    def _ask_node(self, spec: NodeWanted, command: str) -> CommandResult:
        return ask_guest(self._bus.call, spec.host, spec.id, command, ADDRESSES_LIMIT_S)

    def _run_on_machine(self, target: Machine, command: str) -> None:
        run_in_guest(self._bus.call, target.host, target.node_id, command, COMMAND_LIMIT_S)


def _image_store(env: Environment, state: Path) -> ImageStore:
    folder = Path(env.variable("WALT_IMAGES_DIR", IMAGES_DIR))
    platform = parse_platform_images(env.variable("WALT_PLATFORM_IMAGES", ""))
    records = ImageRecords(folder, env.variable("WALT_USER_IMAGES", "users"))
    return ImageStore(folder, platform, records, state / "images")


def image_sources(env: Environment) -> DockerSources:
    text = env.variable("WALT_IMAGE_SOURCES", docker_sources.NONE)
    try:
        return docker_sources.parse(text)
    except ValueError as allowed:
        raise SystemExit(f"WALT_IMAGE_SOURCES={text}: allowed: {allowed}") from None
