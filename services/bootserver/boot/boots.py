"""The life of a boot: published, watched until the node has booted, forgotten when the node is removed.

What a published boot serves to its node is in `boot_payload.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.bootserver.boot import boot_records, boot_script, own_script_files
from services.bootserver.boot.boot_records import BootRecord, BootRecordStore
from services.bootserver.boot.reachability import TURN_S, ReachabilityWatch
from services.bootserver.boot.ssh_keys import KeyStore
from services.bootserver.boot.ssh_probe import BootWatches
from services.bootserver.images.store import ImageStore
from services.bootserver.metrics import BOOT_SECONDS
from services.bootserver.persist import export_files
from services.bootserver.persist.persist_store import PersistStore
from services.bootserver.site import Site
from services.kit import tasks
from services.kit.tasks import Task
from walt.contracts.bootserver import BootPlan, BootRequest, NodeBooted, NodeReachable
from walt.contracts.errors import Failed
from walt.contracts.nodes import Owner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probes:
    """persist_fault(): why the server of machines' disks does not serve them all, "" when it does; dns_fault(),
    ntp_fault(): why the name server, or the time server, does not answer, or ""; sends_banner(address): whether an ssh
    server does; kernel_answers(address): whether a system is there at all."""

    persist_fault: Callable[[], str]
    dns_fault: Callable[[], str]
    ntp_fault: Callable[[], str]
    sends_banner: Callable[[str], bool]
    kernel_answers: Callable[[str], bool]


@dataclass(frozen=True)
class BootStores:
    """All that is kept for the boots of nodes."""

    images: ImageStore
    records: BootRecordStore
    keys: KeyStore
    persist: PersistStore


@dataclass(frozen=True)
class BootReports:
    """booted: called at the end of each boot, and once more after a restart of this service; reachable: when a booted
    node stops or begins again to answer, and after a restart; False where it could not be told."""

    booted: Callable[[NodeBooted], None]
    reachable: Callable[[NodeReachable], bool]


class Boots:
    def __init__(self, site: Site, stores: BootStores, probes: Probes, reports: BootReports) -> None:
        self._site = site
        self._probes = probes
        self._reports = reports
        self._images = stores.images
        self._records = stores.records
        self._keys = stores.keys
        self._persist = stores.persist
        self._watches = BootWatches(self._on_banner, probes.sends_banner)
        self._reachability = ReachabilityWatch(
            stores.records.find, probes.kernel_answers, probes.sends_banner, reports.reachable
        )
        self._loop: Task | None = None

    def start(self) -> None:
        """Watch the boots that had not ended when this service stopped, and report those that had once more: the broker
        may have been away at the first report."""
        for record in self._records.all():
            self._watches.watch(record)
            if record.booted_at:
                self._report(record, record.booted_at)
                self._reachability.watch(record)
        self._loop = tasks.spawn_loop("reachability", self._reachability.turn, every_s=TURN_S)

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.kill()
        self._watches.stop_all()

    def publish(self, request: BootRequest) -> BootPlan:
        """Idempotent. NotFound when there is no such image, Failed when it cannot boot here, or when the disk server is
        needed and does not run."""
        owner = Owner(request.owner, request.owner_account)
        found = self._images.find_for(request.image, owner)
        self._images.boot_files(found)
        own_script_files.check_needs_no_file_server(found)
        if request.has_network_disk and self._probes.persist_fault() == export_files.NOT_RUNNING:
            raise Failed(f"the server of the disk for /persist of {request.name} does not run")
        self._keys.node(request.node_id)
        self._grant_disk(request)
        # The image may have been replaced, and its folder removed, while we waited above. From here on nothing waits
        # before the record is stored, which keeps the folder.
        image = self._images.find_for(request.image, owner)
        known = self._records.find(request.node_id)
        record = boot_records.record_boot(known, request, image.folder, time.time())
        if record is not known:
            self._records.put(record)
        self._watches.watch(record)
        folder = self._persist.folder_of(request.node_id, owner) if request.persist_is_disk else ""
        return boot_script.boot_plan(request, self._site, folder)

    def _grant_disk(self, request: BootRequest) -> None:
        if request.has_network_disk:
            owner = Owner(request.owner, request.owner_account)
            self._persist.grant(request.node_id, owner, request.mac, request.persist_bytes)
        else:
            self._persist.revoke(request.node_id)

    def forget(self, node_id: int) -> None:
        self._watches.stop(node_id)
        self._records.remove(node_id)
        self._keys.forget_node(node_id)
        self._persist.forget(node_id)

    def known(self) -> set[int]:
        """Ids of the nodes with a boot record, a key or a /persist."""
        return self._records.known() | self._keys.known() | self._persist.known()

    def forget_all(self, gone: Iterable[int]) -> None:
        for node_id in gone:
            log.warning("node %d is not known to nodes: its boot record, keys and /persist are removed", node_id)
            self.forget(node_id)

    def _on_banner(self, record: BootRecord, at: float) -> None:
        request = record.request
        try:
            if not self._records.put_booted(record, at):
                return
        except OSError as error:  # the disk is full; the node has booted all the same
            log.error("%s: that it has booted cannot be saved: %s", request.name, error)
        self._reachability.watch(self._records.get(request.node_id))
        BOOT_SECONDS.observe(at - record.published_at)
        log.info("%s has booted in %.1f s (run %d)", request.name, at - record.published_at, request.run)
        self._report(record, at)

    def _report(self, record: BootRecord, at: float) -> None:
        request = record.request
        self._reports.booted(NodeBooted(request.node_id, request.run, at, request.ip))
