"""The application: all parts of vmrunner, and its reconciliation with nodes."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import IO

from prometheus_client import REGISTRY

from services.kit import tasks
from services.kit.bus.bus import Bus
from services.kit.environment import Environment
from services.kit.files import hold_lock
from services.kit.metrics import watch_space
from services.kit.presence import keep_present
from services.kit.reconcile_loop import keep_in_step
from services.kit.registry_guard import RegistryGuard
from services.vmrunner import health
from services.vmrunner.boot.cache import BootFileCache
from services.vmrunner.boot.persist_disks import PersistDisks, is_disk
from services.vmrunner.boot.power_on import Booter
from services.vmrunner.disks.moving import MovingDiskStore
from services.vmrunner.disks.persist import PersistDiskStore
from services.vmrunner.disks.store import DiskStore
from services.vmrunner.disks.trash import AGE_EVERY_S, Trash
from services.vmrunner.launcher.client import VmLauncher
from services.vmrunner.launcher.protocol import LAUNCHER_SOCKET
from services.vmrunner.lifecycle.boot_slots import BootSlots
from services.vmrunner.lifecycle.fleet import Fleet
from services.vmrunner.lifecycle.interfaces import InterfaceFollower
from services.vmrunner.lifecycle.record_store import RecordStore
from services.vmrunner.lifecycle.runner_context import RunnerContext
from services.vmrunner.lifecycle.space_guard import LOOK_S, SpaceGuard
from services.vmrunner.memory.host_memory import MemoryLedger
from services.vmrunner.metrics import FleetCollector
from services.vmrunner.qemu import accelerator
from services.vmrunner.qemu.accelerator import Accelerator
from services.vmrunner.qemu.containers import QemuContainers
from services.vmrunner.qemu.open_files import VmFolders
from services.vmrunner.qemu.processes import QemuProcesses
from services.vmrunner.qemu.stub import StubMachines
from services.vmrunner.qemu.vm import Launcher
from services.vmrunner.uids import uid_range
from walt.contracts import nodes, serialization, vmrunner
from walt.contracts.checks import Check
from walt.contracts.hosts import AgentPresent
from walt.contracts.nodes import NodeWanted, Specs
from walt.contracts.units import parse_disk_bytes
from walt.contracts.version import VERSION
from walt.contracts.vmrunner import MovingDisks, MovingPiece

RECONCILE_S = 30.0
DISK_FLOOR = "4G"
TRASH_HOURS = "72"
PROCESS, CONTAINER, STUB = "process", "container", "stub"  # WALT_VM_LAUNCHER


class VmrunnerApp:
    def __init__(self, env: Environment, bus: Bus) -> None:
        self._host_name = env.host
        self._bus = bus
        self._state_folder = env.state_dir / "vmrunner"
        self._state_folder.mkdir(parents=True, exist_ok=True)
        self._lock = only_one(self._state_folder)
        self._launcher = launcher(env)
        memory_file = self._state_folder / "accelerator.json"
        self._accelerator = Accelerator(configured_accelerator(env), self._launcher, memory_file)
        self._registry = RegistryGuard(self._state_folder, vmrunner.service_on(env.host), bus.call)
        self.trash = Trash(self._state_folder / "trash", trash_hours(env) * 3600)
        self.disks = DiskStore(self._state_folder, self.trash)
        self.persist = PersistDiskStore(self._state_folder, self._launcher.trial_uid, self.trash)
        self._persist_folders = Path(env.variable("WALT_PERSIST_FOLDERS", str(env.state_dir / "bootserver/persist")))
        self._floor_bytes = disk_floor(env)
        self.moving = MovingDiskStore(self._state_folder, self.disks, self._floor_bytes)
        self.memory = MemoryLedger(env.host, number_above_0(env, "WALT_MEMORY_FACTOR", "1.5"))
        self.fleet = self._fleet(number_above_0(env, "WALT_SOFT_END_S", "20"), boot_slots(env))
        self.space = SpaceGuard(self.fleet, self.trash, self._state_folder, self._floor_bytes)
        self._collector = FleetCollector(self.fleet, self.memory)

    def start(self) -> None:
        REGISTRY.register(self._collector)
        watch_space("machines", self._state_folder)
        self._watches = [
            keep_present(self._bus, self._presence),
            tasks.spawn_loop("space", self.space.look, every_s=LOOK_S),
            tasks.spawn_loop("trash", self.trash.grow_older, every_s=AGE_EVERY_S),
        ]
        self._reconciliation = tasks.spawn(keep_in_step, self._reconcile, RECONCILE_S, self._registry.wake)

    def stop(self) -> None:
        for watch in self._watches:
            watch.kill()
        self._reconciliation.kill()
        REGISTRY.unregister(self._collector)

    def apply(self, spec: NodeWanted) -> None:
        if self._registry.allows(f"the spec of {spec.name}", spec.registry, spec.revision):
            self.fleet.apply(spec)

    def list_moving(self, node_id: int, move: int, caller: str) -> MovingDisks:
        """With what was to be taken back from the trash at its next boot."""
        runner = self.fleet.leaving(node_id, move, caller)
        spec = runner.spec
        self.disks.take_back(node_id, spec.disks, spec.owned_by)
        if is_disk(spec):
            self.persist.take_back(node_id, spec.owned_by, spec.name)
        return MovingDisks(runner.record.run, self.moving.files(node_id))

    def read_moving(self, node_id: int, move: int, name: str, offset: int, caller: str) -> MovingPiece:
        self.fleet.leaving(node_id, move, caller)
        return self.moving.read(node_id, name, offset)

    def diagnose(self) -> list[Check]:
        return list(
            health.diagnose(
                self._accelerator,
                self._launcher,
                self._state_folder,
                self._floor_bytes,
                self.trash.disks(),
                self._registry.fault,
            )
        )

    def _presence(self) -> AgentPresent:
        return AgentPresent(self._host_name, vmrunner.SERVICE, VERSION, capacity=self.memory.capacity())

    def _reconcile(self) -> None:
        known, claimants = self.fleet.known(), self.trash.claimants()
        specs = serialization.load(Specs, self._bus.call(nodes.SERVICE, "get_specs", host=self._host_name))
        self._registry.check(specs.registry, specs.revision)
        self.fleet.reconcile(specs.nodes, known)
        self.trash.end_claims(claimants - {spec.id for spec in specs.nodes})

    def _fleet(self, soft_end_s: float, slots: int) -> Fleet:
        cache = BootFileCache(self._state_folder / "cache")
        persist = PersistDisks(self.persist, self._persist_folders, self._bus)
        booter = Booter(self._host_name, self._bus, cache, self._launcher, self._accelerator, self.disks, persist)
        context = RunnerContext(
            name=self._host_name,
            bus=self._bus,
            records=RecordStore(self._state_folder),
            launcher=self._launcher,
            booter=booter,
            disks=self.disks,
            persist=self.persist,
            moving=self.moving,
            memory=self.memory,
            slots=BootSlots(slots),
            soft_end_s=soft_end_s,
            interfaces=InterfaceFollower(booter.attach_live),
        )
        return Fleet(context)


def only_one(state_folder: Path) -> IO[bytes]:
    """Two would both adopt, start and end the same VMs."""
    try:
        return hold_lock(state_folder / "lock")
    except BlockingIOError:
        raise SystemExit(f"another vmrunner has {state_folder}; allowed: one of each host") from None


def launcher(env: Environment) -> Launcher:
    run_folder = env.run_dir / "vmrunner"
    run_folder.mkdir(parents=True, exist_ok=True)
    os.chmod(run_folder, 0o711)  # the VMs' users must reach their own folders
    binary = env.variable("WALT_QEMU", "qemu-system-x86_64")
    folders = VmFolders(run_folder, uid_range(env))
    kind = env.variable("WALT_VM_LAUNCHER", PROCESS)
    if kind == PROCESS:
        return QemuProcesses(binary, folders)
    if kind == CONTAINER:
        return QemuContainers(binary, folders, VmLauncher(Path(env.variable("WALT_LAUNCHER_SOCKET", LAUNCHER_SOCKET))))
    if kind == STUB:
        return StubMachines(folders)
    raise SystemExit(f"WALT_VM_LAUNCHER={kind}: allowed: {PROCESS}, {CONTAINER}, {STUB}")


def configured_accelerator(env: Environment) -> str:
    configured = env.variable("WALT_ACCEL", accelerator.AUTO)
    if configured not in accelerator.ALLOWED:
        raise SystemExit(f"WALT_ACCEL={configured}: allowed: {', '.join(accelerator.ALLOWED)}")
    return configured


def boot_slots(env: Environment) -> int:
    if env.variable("WALT_BOOT_SLOTS", "auto") == "auto":
        return os.cpu_count() or 1
    return math.ceil(number_above_0(env, "WALT_BOOT_SLOTS", "1"))


def disk_floor(env: Environment) -> int:
    text = env.variable("WALT_DISK_FLOOR", DISK_FLOOR)
    try:
        return parse_disk_bytes(text)
    except ValueError as allowed:
        raise SystemExit(f"WALT_DISK_FLOOR={text}: allowed: {allowed}") from None


def trash_hours(env: Environment) -> int:
    text = env.variable("WALT_TRASH_HOURS", TRASH_HOURS)
    if not (text.isascii() and text.isdigit()):
        raise SystemExit(f"WALT_TRASH_HOURS={text}: allowed: a whole number of hours; 0 keeps nothing")
    return int(text)


def number_above_0(env: Environment, name: str, default: str) -> float:
    text = env.variable(name, default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise SystemExit(f"{name}={text}: allowed: a number above 0")
    return number
