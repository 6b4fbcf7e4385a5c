"""A running qemu, and what starts one: what a process (processes.py) and a container (containers.py) have in common."""

from __future__ import annotations

import contextlib
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from services.vmrunner.qemu.command_line import netdev
from services.vmrunner.qemu.endings import ENDED_UNSEEN, Ending, ending
from services.vmrunner.qemu.hotplug import HotPlug
from services.vmrunner.qemu.qmp import Qmp, QmpClosed
from walt.contracts.console import LinePaths
from walt.contracts.errors import Failed
from walt.contracts.nodes import Interface, NodeWanted

START_LIMIT_S = 15.0
ADOPT_LIMIT_S = 3.0
END_STEP_S = 3.0


@dataclass(frozen=True)
class Usage:
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class KvmRights:
    """Of /dev/kvm, as qemu sees it."""

    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class PowerOn:
    """All that one start of a VM needs of its host. taps: {PCI slot: name}; disks: paths in the order of the spec;
    persist: of the disk for /persist; root: of a read-only disk beside them; uid: as `Launcher.reserve` gave it;
    kvm_group: the group that may open /dev/kvm, if one may."""

    spec: NodeWanted
    run: int
    uid: int
    command_line: str
    kernel: Path
    initrd: Path | None
    root: Path | None
    taps: dict[int, str]
    disks: tuple[Path, ...]
    persist: Path | None
    line: LinePaths
    accelerator: str
    kvm_group: int | None


class Vm(ABC):
    """ending: how it ended, None while it runs. is_paused: by `pause`. pid: of qemu, in the host's PID namespace."""

    def __init__(self, pid: int, monitor: Qmp | None) -> None:
        self.pid = pid
        self.ending: Ending | None = None
        self.is_paused = False
        self._on_change: Callable[[], None] = lambda: None
        self._monitor = monitor
        self._carriers: dict[str, bool] = {}  # by netdev, as it was told
        self._gone = threading.Event()

    @abstractmethod
    def usage(self) -> Usage | None:
        """None once it is gone."""

    @abstractmethod
    def set_cpu_weight(self, weight: float) -> None:
        """How much of the processors it gets while others want them too: 1 of a VM alone, below that less."""

    @property
    def hotplug(self) -> HotPlug | None:
        """None when its monitor is another's. While it is watched."""
        return None if self._monitor is None else HotPlug(self._monitor)

    def cpu_seconds(self) -> float | None:
        usage = self.usage()
        return usage.cpu_seconds if usage is not None else None

    @abstractmethod
    def _signal(self, number: signal.Signals) -> None:
        """To a qemu that may be gone."""

    @abstractmethod
    def _until_gone(self) -> None:
        """Returns when qemu is gone, and nothing of it is left."""

    def pause(self, is_paused: bool) -> None:
        """Its CPUs stop, or run on. Nothing happens to one that is gone, or whose monitor is another's."""
        self._tell("stop" if is_paused else "cont")
        self.is_paused = is_paused
        self._on_change()

    def set_carriers(self, interfaces: Sequence[Interface]) -> None:
        """Each interface has a link or none, from now on; one that comes with the next boot, qemu does not know. What a
        former vmrunner told it is not known, so that the first call tells all.

        qemu itself drops the frames of an interface without a link, those of the node and those for it, whatever its
        guest does: netemu has no part in it."""
        wanted = _carriers(interfaces)
        for name, has_carrier in wanted.items():
            if self._carriers.get(name) != has_carrier:
                self._tell("set_link", name=name, up=has_carrier)
        self._carriers = wanted

    def _tell(self, command: str, **arguments: Any) -> None:
        if self._monitor is not None:
            with contextlib.suppress(QmpClosed):
                self._monitor.send(command, **arguments)

    def watch(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` when it is paused or runs on, when its guest has let a device go, and at last when qemu is
        gone."""
        self._on_change = on_change
        self._tell("cont")  # a former vmrunner may have paused it
        threading.Thread(target=self._watch, daemon=True).start()

    def wait(self, limit_s: float) -> bool:
        """Whether it has ended within that time."""
        return self._gone.wait(limit_s)

    def end(self) -> None:
        """Ends qemu by its monitor, else by SIGTERM, else by SIGKILL; Failed if it survives. Only while it is
        watched."""
        if self._monitor is not None:
            self._tell("quit")
            if self.wait(END_STEP_S):
                return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.ending is None:
                self._signal(number)
            if self.wait(END_STEP_S):
                return
        raise Failed(f"qemu, process {self.pid}, does not end")

    def _watch(self) -> None:
        found = ENDED_UNSEEN
        if self._monitor is not None:
            found = ending(_shutdown_reason(self._monitor, self._on_change))
        self._until_gone()
        self.ending = found
        self._gone.set()
        self._on_change()


def begin(monitor: Qmp, interfaces: Sequence[Interface]) -> None:
    """Let its processors run. The guest finds an interface without a link as such from its first look."""
    for name, has_carrier in _carriers(interfaces).items():
        if not has_carrier:
            monitor.execute("set_link", name=name, up=False)
    monitor.execute("cont")


def _carriers(interfaces: Sequence[Interface]) -> dict[str, bool]:
    return {netdev(one.network.id): not one.link.no_carrier for one in interfaces}


def _shutdown_reason(monitor: Qmp, on_device_gone: Callable[[], None]) -> str | None:
    """Reads events until qemu closes the connection, or sends what no qemu would: a guest may control the process."""
    reason = None
    with contextlib.suppress(QmpClosed, KeyError, TypeError), contextlib.closing(monitor):
        while True:
            event = monitor.next_event()
            if event["event"] == "SHUTDOWN":
                reason = str(event["data"]["reason"])
            elif event["event"] == "DEVICE_DELETED":
                on_device_gone()
    return reason


class Launcher(Protocol):
    """The qemus of this host, by node id, also those that a former vmrunner has started."""

    fix: str  # how to get a qemu, for `walt doctor`
    trial_uid: int  # of the user who runs `try_kvm`

    def reserve(self, node_id: int) -> int:
        """The user, of nobody else, for the next start of this node's VM: first what a failed start left is ended."""

    def start(self, power_on: PowerOn) -> Vm: ...

    def adopt(self, node_id: int) -> Vm | None:
        """The qemu of this node that another process has started; None when there is none."""

    def forget(self, node_id: int) -> None:
        """Remove what a qemu that has ended left behind."""

    def known(self) -> set[int]:
        """Nodes that have a qemu, or something that one left behind."""

    def version(self) -> str:
        """'QEMU emulator version 7.2.22 (…)'; Failed when there is none."""

    def kvm_rights(self) -> KvmRights | None:
        """None where there is no /dev/kvm."""

    def try_kvm(self, kernel: Path, kvm_group: int | None, limit_s: float) -> None:
        """Boot a kernel that ends at once under KVM; Failed when it does not."""
