"""The nameko dependency that builds the fleet of this host and keeps it in step with nodes."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from services.contracts import nodes, wire
from services.contracts.errors import WaltError
from services.contracts.health import Check
from services.contracts.nodes import NodeWanted
from services.kit import peers
from services.kit.environment import environment, variable
from services.kit.metrics import watch_space
from services.kit.reconciliation import keep_in_step
from services.kit.registry import RegistryGuard
from services.vmrunner import accelerator, checks
from services.vmrunner.accelerator import Accelerator
from services.vmrunner.boot import Booter
from services.vmrunner.cache import Cache
from services.vmrunner.collector import FleetCollector
from services.vmrunner.disks import DiskStore
from services.vmrunner.fleet import Fleet
from services.vmrunner.memory import Memory
from services.vmrunner.opening import Folders
from services.vmrunner.processes import Processes
from services.vmrunner.runner import Host
from services.vmrunner.store import Store
from services.vmrunner.vm import Launcher

RECONCILE_S = 30.0

log = logging.getLogger(__name__)
PROCESS, CONTAINER = "process", "container"  # WALT_VM_LAUNCHER


class Machines(peers.Announcer):
    """`self.machines`: its fleet, disks and memory, and diagnose. An `Announcer`: machines end outside calls."""

    def setup(self) -> None:
        env = environment()
        self.host_name = env.host
        self.state_folder = env.state_dir / "vmrunner"
        asked = variable("WALT_ACCEL", accelerator.AUTO)
        if asked not in accelerator.CHOICES:
            raise SystemExit(f"WALT_ACCEL={asked}: allowed: {', '.join(accelerator.CHOICES)}")
        self.state_folder.mkdir(parents=True, exist_ok=True)
        self.launcher = self._launcher(env.run_dir / "vmrunner", env.vm_uid)
        self.accelerator = Accelerator(asked, self.launcher, self.state_folder / "accelerator.json")
        self.disks = DiskStore(self.state_folder)
        self.registry = RegistryGuard(self.state_folder)
        self.memory = Memory(env.host, _number_above_0("WALT_MEMORY_FACTOR", "1.5"))
        self.fleet = self._fleet(_number_above_0("WALT_SOFT_END_S", "20"))
        self._collector = FleetCollector(self.fleet, self.memory)

    def start(self) -> None:
        REGISTRY.register(self._collector)
        watch_space("machines", self.state_folder)
        self.container.spawn_managed_thread(lambda: keep_in_step(self._reconcile, RECONCILE_S), identifier="reconcile")

    def stop(self) -> None:
        REGISTRY.unregister(self._collector)

    def get_dependency(self, worker_ctx: Any) -> Machines:
        return self

    def diagnose(self) -> list[Check]:
        return [
            *checks.diagnose(self.accelerator, self.launcher, self.state_folder),
            checks.check_registry(self.registry.fault),
        ]

    def _launcher(self, run_folder: Path, uid: int) -> Launcher:
        run_folder.mkdir(parents=True, exist_ok=True)
        os.chmod(run_folder, 0o711)  # qemu's user passes through to its own folder
        binary, folders = variable("WALT_QEMU", "qemu-system-x86_64"), Folders(run_folder, self.state_folder)
        kind = variable("WALT_VM_LAUNCHER", PROCESS)
        if kind == PROCESS:
            return Processes(binary, folders, uid)
        if kind == CONTAINER:
            from services.vmrunner.containers import Containers  # and with it the Docker SDK, where it is used
            from services.vmrunner.engine import Engine

            engine = Engine(variable("WALT_VM_IMAGE", "walt-vm"), uid, variable("COMPOSE_PROJECT_NAME", "walt"))
            return Containers(binary, folders, engine)
        raise SystemExit(f"WALT_VM_LAUNCHER={kind}: allowed: {PROCESS}, {CONTAINER}")

    def _fleet(self, soft_end_s: float) -> Fleet:
        cache = Cache(self.state_folder / "cache")
        booter = Booter(self.host_name, cache, self.launcher, self.accelerator, self.disks)
        host = Host(
            name=self.host_name,
            store=Store(self.state_folder),
            launcher=self.launcher,
            booter=booter,
            disks=self.disks,
            memory=self.memory,
            soft_end_s=soft_end_s,
            announce=self.announce,
        )
        return Fleet(host)

    def wish(self, wanted: NodeWanted) -> None:
        """A wish that is let be is made good by the reconciliation."""
        try:
            self.registry.check()
        except WaltError as error:
            log.warning("%s is let be: %s", wanted.name, error)
            return
        self.fleet.wish(wanted)

    def _reconcile(self) -> None:
        self.registry.check()
        known = self.fleet.known()
        wanted = peers.call(nodes.SERVICE, "wanted_on_host", host=self.host_name)
        self.fleet.reconcile(wire.load_all(NodeWanted, wanted), known)


def _number_above_0(name: str, default: str) -> float:
    text = variable(name, default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise SystemExit(f"{name}={text}: allowed: a number above 0")
    return number
