"""Opens what a machine needs of its host, and keeps its run folder: RUN_DIR/ID, with the socket of its monitor.

What qemu says on stderr is in `qemu.log` of the machine's state folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.vmrunner import line, taps
from services.vmrunner.qemu import Files
from services.vmrunner.vm import PowerOn


@dataclass(frozen=True)
class Opened:
    """standard: qemu's stdin, stdout and stderr."""

    standard: tuple[int, int, int]
    files: Files


class Folders:
    """Where the machines of this host have what is theirs, by node id."""

    def __init__(self, run_folder: Path, state_folder: Path) -> None:
        self._run_folder = run_folder
        self._state_folder = state_folder

    def run(self, node_id: int) -> Path:
        return self._run_folder / str(node_id)

    def monitor(self, node_id: int) -> Path:
        return self.run(node_id) / "qmp.sock"

    def renew(self, node_id: int, uid: int) -> None:
        """An empty run folder that is this user's."""
        self.forget(node_id)
        self.run(node_id).mkdir(parents=True)
        self.run(node_id).chmod(0o700)
        os.chown(self.run(node_id), uid, uid)

    def forget(self, node_id: int) -> None:
        shutil.rmtree(self.run(node_id), ignore_errors=True)

    def known(self) -> set[int]:
        with contextlib.suppress(FileNotFoundError):
            return {int(folder.name) for folder in self._run_folder.iterdir() if folder.name.isdigit()}
        return set()

    @contextlib.contextmanager
    def opened(self, power_on: PowerOn) -> Iterator[Opened]:
        """Closed again at the end: qemu has its own by then."""
        with contextlib.ExitStack() as stack:

            def keep(descriptor: int) -> int:
                stack.callback(os.close, descriptor)
                return descriptor

            standard = (
                keep(line.open_input(power_on.line)),
                keep(line.open_log(power_on.line)),
                stack.enter_context(self._said(power_on.wanted.id, "wb")).fileno(),
            )
            files = Files(
                kernel=keep(os.open(power_on.kernel, os.O_RDONLY)),
                initrd=keep(os.open(power_on.initrd, os.O_RDONLY)) if power_on.initrd else None,
                monitor=stack.enter_context(_listen(self.monitor(power_on.wanted.id))).fileno(),
                taps={slot: keep(taps.open_tap(name)) for slot, name in power_on.taps.items()},
                disks=tuple(keep(os.open(path, os.O_RDWR)) for path in power_on.disks),
            )
            yield Opened(standard, files)

    def last_words(self, node_id: int) -> str:
        """Of a qemu that did not start. It writes them just before its sockets close."""
        for _ in range(3):
            with self._said(node_id, "rb") as said:
                lines = said.read().decode(errors="replace").strip().splitlines()
            if lines:
                return str(lines[-1][-500:])
            time.sleep(0.05)
        return ""

    def _said(self, node_id: int, mode: str):  # type: ignore[no-untyped-def]
        path = self._state_folder / str(node_id) / "qemu.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open(mode)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener
