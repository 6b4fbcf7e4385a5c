"""qemu in containers of their own, one per machine: for a vmrunner that is itself in a container (see vm.Launcher).

A machine's container has no folder, no capability, no privilege to gain and, but for /dev/kvm, no device: what qemu needs
is opened here and handed to it (engine.py). It is in the network of the container that holds the world, where its taps
are, and in that one's process namespace: so it outlives vmrunner, and ends with the world (`docker compose down` leaves
none behind). The engine removes it at its end; how qemu ended is told by its monitor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from services.contracts.errors import Failed
from services.vmrunner import engine, qemu
from services.vmrunner.engine import FIRST_FILE, Engine, engine_trouble
from services.vmrunner.opening import Folders
from services.vmrunner.qmp import Qmp
from services.vmrunner.vm import ADOPT_LIMIT_S, START_LIMIT_S, KvmRights, PowerOn, Usage, Vm

OVERHEAD_BYTES = 512 * 2**20  # of qemu itself, its translation cache for the most part
THREADS = 128  # of qemu, beside one per processor
KVM_DEVICE = "/dev/kvm"
RETRY_S = 1.0

LABEL_INSTANCE, LABEL_NODE, LABEL_RUN = "walt.instance", "walt.node", "walt.run"

log = logging.getLogger(__name__)


class ContainerVm(Vm):
    def __init__(self, container: Container, monitor: Qmp | None) -> None:
        super().__init__(container.attrs["State"]["Pid"], monitor)
        self._container = container

    def usage(self) -> Usage | None:
        if self.ended:
            return None
        with contextlib.suppress(*engine.TROUBLE, KeyError):  # KeyError: it is just ending
            stats = self._container.stats(stream=False, one_shot=True)
            memory = stats["memory_stats"]["stats"]
            resident_bytes = memory["anon"] if "anon" in memory else memory["rss"]  # control groups v2, v1
            return Usage(stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, resident_bytes)
        return None

    def _signal(self, number: signal.Signals) -> None:
        with engine_trouble(), contextlib.suppress(APIError):  # it is gone, or about to be
            self._container.kill(int(number))

    def _until_gone(self) -> None:
        said = ""
        while True:
            try:
                self._container.wait(timeout=None, condition="removed")
                return
            except NotFound:
                return
            except engine.TROUBLE as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("waiting for the end of %s: %s", self._container.name, said)
                time.sleep(RETRY_S)


class Containers:
    """The VM containers of this host."""

    mend = "docker compose build; vmrunner needs the engine's socket, and the name of the image in WALT_VM_IMAGE"

    def __init__(self, binary: str, folders: Folders, engine: Engine) -> None:
        self._binary = binary
        self._folders = folders
        self._engine = engine
        self._asked = ""  # the image of which the next two are known
        self._version = ""
        self._rights: KvmRights | None = None
        self._turn = threading.Lock()

    def start(self, power_on: PowerOn) -> Vm:
        wanted = power_on.wanted
        self._end_unreachable(wanted.id)
        self._folders.renew(wanted.id, os.geteuid())
        with self._folders.opened(power_on) as opened:
            argv = qemu.command(
                self._binary,
                wanted,
                opened.files.numbered_from(FIRST_FILE),
                command_line=power_on.command_line,
                accelerator=power_on.accelerator,
            )
            container = self._engine.start(
                argv,
                [*opened.standard, *opened.files.descriptors()],
                name=self._name(wanted.id),
                labels={**self._labels, LABEL_NODE: str(wanted.id), LABEL_RUN: str(power_on.run)},
                mem_limit=wanted.ram_bytes + OVERHEAD_BYTES,
                pids_limit=wanted.cpu_cores + THREADS,
                auto_remove=True,
                **_kvm(power_on.accelerator == qemu.KVM, power_on.kvm_group),
            )
        try:
            monitor = Qmp(self._folders.monitor(wanted.id), START_LIMIT_S)
            with engine_trouble():
                container.reload()  # and with that its process
            return ContainerVm(container, monitor)
        except (Failed, OSError) as error:
            self.forget(wanted.id)
            raise Failed(f"qemu does not start: {self._folders.last_words(wanted.id) or error}") from None

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
        self._ask_image()
        return self._version

    def kvm_rights(self) -> KvmRights | None:
        self._ask_image()
        return self._rights

    def try_kvm(self, kernel: Path, kvm_group: int | None, limit_s: float) -> None:
        with kernel.open("rb") as file:
            argv = qemu.probe(self._binary, FIRST_FILE)
            self._engine.perform(argv, [file.fileno()], limit_s, **_kvm(True, kvm_group))

    @property
    def _labels(self) -> dict[str, str]:
        return {LABEL_INSTANCE: self._engine.project}

    def _name(self, node_id: int) -> str:
        """One machine per node: the engine sees to that."""
        return f"{self._engine.project}-vm-{node_id}"

    def _ask_image(self) -> None:
        """Once for each, since a container is started for each question."""
        with self._turn:
            image = self._engine.image_id()
            if self._asked != image:
                self._version = self._engine.perform([self._binary, "--version"]).splitlines()[0]
                self._rights = self._ask_kvm_rights()
                self._asked = image

    def _ask_kvm_rights(self) -> KvmRights | None:
        """The engine refuses a container a device that its host has not, and names it."""
        try:
            words = self._engine.perform(["stat", "--format=%f %u %g", KVM_DEVICE], **_kvm(True, None)).split()
        except Failed as error:
            if KVM_DEVICE not in str(error):  # any other trouble is no answer
                raise
            log.info("machines have no %s: %s", KVM_DEVICE, error)
            return None
        return KvmRights(int(words[0], 16), int(words[1]), int(words[2]))

    def _end_unreachable(self, node_id: int) -> None:
        """End what a start that went wrong may have left."""
        container = self._engine.find(self._name(node_id))
        if container is not None:
            engine.remove(container)


def _kvm(used: bool, group: int | None) -> dict[str, Any]:
    if not used:
        return {}
    return {"devices": [f"{KVM_DEVICE}:{KVM_DEVICE}:rw"], "group_add": [] if group is None else [group]}
