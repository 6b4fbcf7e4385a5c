"""qemu in containers, one per VM: for a vmrunner that is itself in a container (see vm.Launcher).

A VM's container has no folder, no capability, no way to gain a privilege and no device but /dev/kvm: what qemu needs is
opened here and handed to it (docker_engine.py). It has the network of the container `world`, where its taps are, and
that one's PID namespace: so it outlives vmrunner, and ends with the world (`docker compose down` leaves none behind).
The engine removes it at its end; how qemu ended is known from its monitor.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from services.kit.docker import ENGINE_ERRORS, EngineRefused, engine_errors
from services.kit.say_once import SayOnce
from services.vmrunner.qemu import command_line, docker_engine
from services.vmrunner.qemu.docker_engine import FIRST_FILE, DockerEngine
from services.vmrunner.qemu.open_files import VmFolders
from services.vmrunner.qemu.qmp import Qmp
from services.vmrunner.qemu.vm import ADOPT_LIMIT_S, START_LIMIT_S, KvmRights, PowerOn, Usage, Vm, begin
from walt.contracts.errors import Failed

OVERHEAD_BYTES = 512 * 2**20  # of qemu itself, its translation cache for the most part
THREADS = 128  # of qemu, beside one per processor
CPU_SHARES, MIN_CPU_SHARES = 1024, 2  # the default of a container; the least that the engine takes
KVM_DEVICE = "/dev/kvm"
RETRY_S = 1.0

LABEL_INSTANCE, LABEL_NODE, LABEL_RUN = "walt.instance", "walt.node", "walt.run"

log = logging.getLogger(__name__)


class ContainerVm(Vm):
    def __init__(self, container: Container, monitor: Qmp | None) -> None:
        super().__init__(container.attrs["State"]["Pid"], monitor)
        self._container = container

    def usage(self) -> Usage | None:
        if self.ending:
            return None
        with contextlib.suppress(*ENGINE_ERRORS, KeyError):  # KeyError: it is just ending
            stats = self._container.stats(stream=False, one_shot=True)
            memory = stats["memory_stats"]["stats"]
            resident_bytes = memory["anon"] if "anon" in memory else memory["rss"]  # control groups v2, v1
            return Usage(stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, resident_bytes)
        return None

    def set_cpu_weight(self, weight: float) -> None:
        with engine_errors(), contextlib.suppress(NotFound):
            self._container.update(cpu_shares=max(MIN_CPU_SHARES, round(CPU_SHARES * weight)))

    def _signal(self, number: signal.Signals) -> None:
        with engine_errors(), contextlib.suppress(APIError):  # it is gone, or about to be
            self._container.kill(int(number))

    def _until_gone(self) -> None:
        fault = SayOnce(log, f"waiting for the end of {self._container.name}: %s", "the Docker Engine answers again")
        while True:
            try:
                self._container.wait(timeout=None, condition="removed")
                return
            except NotFound:
                return
            except ENGINE_ERRORS as error:
                fault.failed(error)
                time.sleep(RETRY_S)


class QemuContainers:
    fix = "docker compose build; vmrunner needs the engine's socket, and the name of the image in WALT_VM_IMAGE"

    def __init__(self, binary: str, folders: VmFolders, engine: DockerEngine) -> None:
        self._binary = binary
        self._folders = folders
        self._engine = engine
        self.trial_uid = folders.uids.trial
        self._image = ""  # of which the next two are known
        self._version = ""
        self._rights: KvmRights | None = None
        self._turn = threading.Lock()

    def reserve(self, node_id: int) -> int:
        self._end_unreachable(node_id)
        return self._folders.renew(node_id)

    def start(self, power_on: PowerOn) -> Vm:
        spec = power_on.spec
        with self._folders.opened(power_on) as opened:
            argv = command_line.command(
                self._binary,
                spec,
                opened.files.numbered_from(FIRST_FILE),
                command_line=power_on.command_line,
                accelerator=power_on.accelerator,
            )
            container = self._engine.start(
                argv,
                [*opened.standard, *opened.files.descriptors()],
                uid=power_on.uid,
                name=self._name(spec.id),
                labels={**self._labels, LABEL_NODE: str(spec.id), LABEL_RUN: str(power_on.run)},
                mem_limit=spec.ram_bytes + OVERHEAD_BYTES,
                pids_limit=spec.cpu_cores + THREADS,
                auto_remove=True,
                **_kvm(power_on.accelerator == command_line.KVM, power_on.kvm_group),
            )
        try:
            monitor = Qmp(self._folders.monitor(spec.id), START_LIMIT_S)
            begin(monitor, spec.interfaces)
            with engine_errors():
                container.reload()  # and with that its process
            return ContainerVm(container, monitor)
        except (Failed, OSError) as error:
            self.forget(spec.id)
            raise Failed(f"qemu does not start: {self._folders.last_error(spec.id) or error}") from None

    def adopt(self, node_id: int) -> Vm | None:
        container = self._engine.find(self._name(node_id))
        if container is None or not container.attrs["State"]["Running"]:
            return None
        monitor = None
        try:
            monitor = Qmp(self._folders.monitor(node_id), ADOPT_LIMIT_S)
        except (Failed, OSError) as error:
            log.warning("node %d: its container runs, but its monitor does not answer: %s", node_id, error)
        return ContainerVm(container, monitor)

    def forget(self, node_id: int) -> None:
        self._end_unreachable(node_id)
        self._folders.forget(node_id)

    def known(self) -> set[int]:
        ours = (f"{name}={value}" for name, value in self._labels.items())
        found = self._engine.labels(*ours, LABEL_NODE)
        return {*self._folders.known(), *(int(labels[LABEL_NODE]) for labels in found)}

    def version(self) -> str:
        self._inspect_image()
        return self._version

    def kvm_rights(self) -> KvmRights | None:
        self._inspect_image()
        return self._rights

    def try_kvm(self, kernel: Path, kvm_group: int | None, limit_s: float) -> None:
        with kernel.open("rb") as file:
            argv = command_line.probe(self._binary, FIRST_FILE)
            self._perform(argv, [file.fileno()], limit_s, **_kvm(True, kvm_group))

    @property
    def _labels(self) -> dict[str, str]:
        return {LABEL_INSTANCE: self._engine.project}

    def _name(self, node_id: int) -> str:
        """The engine has one container of a name, hence one VM of a node."""
        return f"{self._engine.project}-vm-{node_id}"

    def _perform(self, argv: Sequence[str], files: Sequence[int] = (), limit_s: float = 10, **options: Any) -> str:
        return self._engine.perform(argv, files, limit_s, uid=self.trial_uid, **options)

    def _inspect_image(self) -> None:
        """Once per image, since it takes two containers."""
        with self._turn:
            image = self._engine.image_id()
            if self._image != image:
                self._version = self._perform([self._binary, "--version"]).splitlines()[0]
                self._rights = self._read_kvm_rights()
                self._image = image

    def _read_kvm_rights(self) -> KvmRights | None:
        """The engine refuses to start a container with a device that its host lacks. It has just started one
        without."""
        try:
            output = self._perform(["stat", "--format=%f %u %g", KVM_DEVICE], **_kvm(True, None))
        except EngineRefused as error:
            log.info("VMs have no %s: %s", KVM_DEVICE, error)
            return None
        mode, uid, gid = output.split()
        return KvmRights(int(mode, 16), int(uid), int(gid))

    def _end_unreachable(self, node_id: int) -> None:
        """End what a failed start may have left."""
        container = self._engine.find(self._name(node_id))
        if container is not None:
            docker_engine.remove(container)


def _kvm(used: bool, group: int | None) -> dict[str, Any]:
    if not used:
        return {}
    return {"devices": [f"{KVM_DEVICE}:{KVM_DEVICE}:rw"], "group_add": [] if group is None else [group]}
