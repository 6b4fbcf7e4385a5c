"""What all runners of this host share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from services.kit.bus.bus import Bus
from services.vmrunner.boot.power_on import Booter
from services.vmrunner.disks.moving import MovingDiskStore
from services.vmrunner.disks.persist import PersistDiskStore
from services.vmrunner.disks.store import DiskStore
from services.vmrunner.lifecycle.boot_counts import BootCounts
from services.vmrunner.lifecycle.boot_slots import BootSlots
from services.vmrunner.lifecycle.cpu_shares import CpuShares
from services.vmrunner.lifecycle.interfaces import InterfaceFollower
from services.vmrunner.lifecycle.record_store import RecordStore
from services.vmrunner.lifecycle.transitions import VmRecord
from services.vmrunner.memory.host_memory import MemoryLedger
from services.vmrunner.qemu.vm import Launcher, Vm
from walt.contracts.errors import WaltError
from walt.contracts.nodes import POWER_ON, NodeWanted
from walt.contracts.vmrunner import BOOTED, BOOTING

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunnerContext:
    """soft_end_s: how long a guest may take to shut down."""

    name: str
    bus: Bus
    records: RecordStore
    launcher: Launcher
    booter: Booter
    disks: DiskStore
    persist: PersistDiskStore
    moving: MovingDiskStore
    memory: MemoryLedger
    slots: BootSlots
    soft_end_s: float
    interfaces: InterfaceFollower
    boots: BootCounts = field(default_factory=BootCounts)
    cpu_shares: CpuShares = field(default_factory=CpuShares)

    def forget(self, node_id: int, name: str, *, is_elsewhere: bool) -> None:
        """All that is left of a node whose qemu has ended; what it wrote to disks goes to the trash, unless another
        host has them."""
        if not is_elsewhere:
            self.disks.keep_only(node_id, (), name)
            self.persist.discard(node_id, name)
        self.launcher.forget(node_id)
        self.memory.give_back(node_id)
        self.slots.release(node_id)
        self.cpu_shares.release(node_id)
        self.interfaces.forget(node_id)
        self.records.forget(node_id)
        self.boots.forget(node_id)

    def keep_in_step(self, spec: NodeWanted, record: VmRecord, vm: Vm, wake: Callable[[], None]) -> None:
        """All of a running qemu that follows its spec live: its share of the processors, carriers, interfaces."""
        is_booting = record.state != BOOTED
        self.cpu_shares.occupy(spec.id, spec.owner_account, vm.set_cpu_weight, is_booting=is_booting)
        vm.set_carriers(spec.interfaces)
        is_to_stay = spec.power == POWER_ON and spec.boot == record.boot and record.state in (BOOTING, BOOTED)
        if is_to_stay:
            self.interfaces.follow(spec, vm, wake)

    def release(self, record: VmRecord, spec: NodeWanted) -> None:
        """With no qemu running: its share of the processors, the memory that was promised to it, and disks no longer in
        its spec. A disk that cannot be deleted is tried again; it delays nothing."""
        self.cpu_shares.release(spec.id)
        if not record.keeps_promise:
            self.memory.give_back(spec.id)
        try:
            self.disks.keep_only(spec.id, spec.disks, spec.name)
        except (WaltError, OSError) as error:
            log.warning("%s: a disk that is no longer in its spec cannot be removed: %s", record.name, error)
