"""A runner among fakes of all that outlives vmrunner."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from services.vmrunner.disks.moving import MovingDiskStore
from services.vmrunner.disks.persist import PersistDiskStore
from services.vmrunner.disks.store import DiskStore
from services.vmrunner.disks.trash import Trash
from services.vmrunner.lifecycle.boot_slots import BootSlots
from services.vmrunner.lifecycle.interfaces import InterfaceFollower
from services.vmrunner.lifecycle.record_store import RecordStore
from services.vmrunner.lifecycle.runner import Runner
from services.vmrunner.lifecycle.runner_context import RunnerContext
from services.vmrunner.memory.host_memory import MemoryLedger
from services.vmrunner.qemu.endings import QEMU_QUIT, Ending
from tests.support.specs import spec
from walt.contracts.bootserver import NodeBooted
from walt.contracts.console import LinePaths
from walt.contracts.disks import NO_TEMPLATE
from walt.contracts.errors import Failed
from walt.contracts.nodes import Disk
from walt.contracts.vmrunner import VM_REMOVED

GIB = 2**30
GRACE_S = 3600.0
FIRST = spec(ram_bytes=6 * GIB, boot_timeout_s=None, disks=(Disk(1, 10**6, NO_TEMPLATE),))


class Killed(BaseException):
    """vmrunner, in the middle of something."""


class Waiting(BaseException):
    """The runner waits for something to happen."""


class Vm:
    """A qemu, which outlives who has started it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ending: Ending | None = None
        self.is_paused = False
        self.carriers = {}
        self.hotplug = None

    def watch(self, on_end) -> None:
        self.carriers_at_watch = dict(self.carriers)
        self._on_end = on_end

    def usage(self):
        return None

    def cpu_seconds(self):
        return None

    def set_cpu_weight(self, weight):
        self.cpu_weight = weight

    def set_carriers(self, interfaces):
        self.carriers = {one.network.name: not one.link.no_carrier for one in interfaces}

    def end(self) -> None:
        if self._world.stuck:
            raise Failed("qemu, process 7, does not end")
        with self._world.effect():
            self.dies(QEMU_QUIT)

    def dies(self, how: Ending) -> None:
        self.ending = how
        self._on_end()


class World:
    """All that outlives vmrunner: files, VMs, and the reports to nodes. kill_at: the effect in which vmrunner dies,
    counted twice: before it, and after it."""

    def __init__(self, folder: Path, kill_at: int = 0) -> None:
        self.folder, self.kill_at = folder, kill_at
        self.moments, self.killed = itertools.count(1), False
        self.vm: Vm | None = None
        self.engine_is_away, self.stuck = False, False
        self.reports, self.removed = [], 0
        self.script = lambda pause: None

    @contextlib.contextmanager
    def effect(self) -> Iterator[None]:
        self._moment()
        yield
        self._moment()

    def _moment(self) -> None:
        if next(self.moments) == self.kill_at:
            self.killed = True
            raise Killed

    @property
    def runs(self) -> bool:
        return self.vm is not None and not self.vm.ending

    # As a launcher:

    def known(self):
        return set()

    def adopt(self, node_id: int) -> Vm | None:
        if self.engine_is_away:
            raise Failed("the Docker Engine does not answer: gone")
        return self.vm if self.runs else None

    def forget(self, node_id: int) -> None:
        with self.effect():
            assert not self.runs

    # As a booter:

    def prepare_line(self, spec) -> LinePaths:
        return LinePaths(*(str(self.folder / name) for name in ("line.sock", "line.log", "line.in")))

    def power_on(self, spec, run, line, pause) -> Vm:
        disk_store(self.folder / "state").prepare(spec.id, spec.disks, spec.owned_by)
        self.script(pause)
        with self.effect():
            assert not self.runs, "two VMs of one node"
            self.vm = Vm(self)
        return self.vm

    def announce(self, event, value) -> None:
        with self.effect():
            if event == VM_REMOVED:
                self.removed += 1
            else:
                self.reports.append(value)


class Records(RecordStore):
    world: World

    def save(self, record) -> None:
        with self.world.effect():
            super().save(record)

    def forget(self, node_id: int) -> None:
        with self.world.effect():
            super().forget(node_id)


class Wakeup:
    """In place of the event for which a runner waits."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    def clear(self) -> None:
        self.is_set = False

    def wait(self, timeout=None) -> None:
        if not self.is_set:
            raise Waiting


def life(world: World) -> RunnerContext:
    """As a vmrunner that starts finds it."""
    state = world.folder / "state"
    records = Records(state)
    records.world = world
    memory = MemoryLedger("lab", 1.0, lambda field: 10 * GIB)
    persist = PersistDiskStore(state, 65_534, Trash(state / "trash", GRACE_S))
    follower = InterfaceFollower(lambda spec, interfaces: [])
    disks = disk_store(state)
    parts = (records, world, world, disks, persist, MovingDiskStore(state, disks, 0), memory, BootSlots(1))
    return RunnerContext("lab", world, *parts, soft_end_s=0.0, interfaces=follower)


def disk_store(state: Path) -> DiskStore:
    return DiskStore(state, Trash(state / "trash", GRACE_S))


def runner_for(spec, world: World) -> Runner:
    made = Runner(spec, life(world))
    made._wakeup = Wakeup()
    return made


def goes_on(runner: Runner) -> None:
    """Until there is nothing to do, or the node is gone."""
    with contextlib.suppress(Waiting):
        runner.run()


def booted(runner: Runner) -> None:
    runner.hear(NodeBooted(runner.spec.id, runner.record.run, time.time()))
    goes_on(runner)
