"""A running qemu, and what starts one: the part that a process (processes.py) and a container (containers.py) share."""

from __future__ import annotations

import contextlib
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.contracts.console import Line
from services.contracts.errors import Failed
from services.contracts.nodes import NodeWanted
from services.vmrunner import lifecycle
from services.vmrunner.qmp import Qmp, QmpClosed

START_LIMIT_S = 15.0
ADOPT_LIMIT_S = 3.0
END_STEP_S = 3.0


@dataclass(frozen=True)
class Usage:
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class KvmRights:
    """Of /dev/kvm, as the machines see it."""

    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class PowerOn:
    """All that one start of a node needs of its host. taps: {PCI slot: name}; disks: as in NodeWanted;
    kvm_group: the group that opens /dev/kvm, where one does."""

    wanted: NodeWanted
    run: int
    command_line: str
    kernel: Path
    initrd: Path | None
    taps: dict[int, str]
    disks: tuple[Path, ...]
    line: Line
    accelerator: str
    kvm_group: int | None


class Vm(ABC):
    """`ended` tells how it ended, '' as long as it runs. pid: of qemu, as the host counts."""

    def __init__(self, pid: int, monitor: Qmp | None) -> None:
        self.pid = pid
        self.ended = ""
        self._monitor = monitor
        self._gone = threading.Event()

    @abstractmethod
    def usage(self) -> Usage | None:
        """None once it is gone."""

    @abstractmethod
    def _signal(self, number: signal.Signals) -> None:
        """To a qemu that may be gone."""

    @abstractmethod
    def _until_gone(self) -> None:
        """Returns when qemu is gone, and nothing of it is left."""

    def watch(self, on_end: Callable[[], None]) -> None:
        """Call `on_end` once, when the machine is gone."""
        threading.Thread(target=self._watch, args=(on_end,), daemon=True).start()

    def wait(self, limit_s: float) -> bool:
        """Whether it has ended within that time."""
        return self._gone.wait(limit_s)

    def end(self) -> None:
        """Ask, then tell, then force it; Failed if it is still there after that. Only one that is watched."""
        if self._monitor is not None:
            with contextlib.suppress(QmpClosed):
                self._monitor.send("quit")
            if self.wait(END_STEP_S):
                return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.ended:
                self._signal(number)
            if self.wait(END_STEP_S):
                return
        raise Failed(f"qemu, process {self.pid}, does not end")

    def _watch(self, on_end: Callable[[], None]) -> None:
        reason = lifecycle.ENDED_UNSEEN
        if self._monitor is not None:
            reason = lifecycle.ending(_shutdown_reason(self._monitor))
        self._until_gone()
        self.ended = reason
        self._gone.set()
        on_end()


def _shutdown_reason(monitor: Qmp) -> str | None:
    """Reads events until qemu closes the connection, or says what no qemu would: a guest may have taken it over."""
    reason = None
    with contextlib.suppress(QmpClosed, KeyError, TypeError), contextlib.closing(monitor):
        while True:
            event = monitor.next_event()
            if event["event"] == "SHUTDOWN":
                reason = str(event["data"]["reason"])
    return reason


class Launcher(Protocol):
    """The machines of this host, by node id; what they were started by, and whether that still runs, is no matter."""

    mend: str  # what gives the host a qemu, for `walt doctor`

    def start(self, power_on: PowerOn) -> Vm: ...

    def adopt(self, node_id: int) -> Vm | None:
        """The machine of this node that another process has started; None when there is none."""

    def forget(self, node_id: int) -> None:
        """Remove what an ended machine has left."""

    def known(self) -> set[int]:
        """Nodes of which there is a machine, or something that one has left."""

    def version(self) -> str:
        """'QEMU emulator version 7.2.22 (…)'; Failed when there is none."""

    def kvm_rights(self) -> KvmRights | None:
        """None where machines have no /dev/kvm."""

    def try_kvm(self, kernel: Path, kvm_group: int | None, limit_s: float) -> None:
        """Boot a kernel under KVM; Failed when that comes to no end."""
