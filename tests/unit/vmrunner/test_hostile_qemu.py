"""A qemu that its guest has taken over: what it sends, and what it leaves in its run folder, harms nobody else."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.vmrunner.qemu import qmp
from services.vmrunner.qemu.open_files import STDERR_BYTES, VmFolders
from services.vmrunner.qemu.processes import QemuProcesses
from services.vmrunner.qemu.qmp import Qmp, QmpClosed
from services.vmrunner.uids import UidRange
from walt.contracts.errors import Failed

NODE = 5
GREETING = b'{"QMP": {}}\n{"return": {}}\n'


class Monitor:
    """Sends what it is told, and reads nothing."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(4)
        self.path = path
        self.connections: list[socket.socket] = []

    def sends(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        threading.Thread(target=self._serve, args=(pieces,), daemon=True).start()

    def _serve(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        connection, _ = self._listener.accept()
        self.connections.append(connection)
        for piece in pieces():
            try:
                connection.sendall(piece)
            except OSError:
                return

    def close(self) -> None:
        for one in (self._listener, *self.connections):
            one.close()


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    monitor = Monitor(tmp_path / "qmp.sock")
    yield monitor
    monitor.close()


def test_a_line_that_never_ends_takes_no_memory(monitor):
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    monitor.sends(endless)
    with pytest.raises(QmpClosed, match="more than 1048576 bytes in a line"):
        Qmp(monitor.path, 5)


def test_events_without_an_answer_end_in_time_and_do_not_pile_up(monitor):
    def chatter() -> Iterator[bytes]:
        yield GREETING
        while True:
            yield b'{"event": "RTC_CHANGE"}\n' * 100

    monitor.sends(chatter)
    connection = Qmp(monitor.path, 0.5)
    begin = time.monotonic()
    with pytest.raises(Failed, match="does not answer"):
        connection.execute("cont")
    assert time.monotonic() - begin < 3
    assert len(connection._events) <= qmp.MAX_EVENTS
    connection.close()


def test_a_monitor_that_is_a_link_is_not_followed(monitor, tmp_path):
    """To that of another VM, say, which would obey."""
    monitor.sends(lambda: iter([GREETING]))
    (tmp_path / "link").symlink_to(monitor.path)
    with pytest.raises(OSError):
        Qmp(tmp_path / "link", 1)
    Qmp(monitor.path, 1).close()


@pytest.fixture
def folders(tmp_path: Path) -> VmFolders:
    (tmp_path / "run").mkdir()
    return VmFolders(tmp_path / "run", UidRange(2_000_000_000, 2_000_000_010))


@pytest.mark.parametrize("kind", ["pipe", "endless", "long", "folder", "words"])
def test_a_pid_file_that_is_none_is_passed_over(folders, kind):
    folders.renew(NODE)
    path = folders.run(NODE) / "pid"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "long":
            path.write_text(str(os.getpid()).zfill(10**6))
        case "folder":
            path.mkdir()
        case _:
            path.write_text("1e3")
    begin = time.monotonic()
    assert QemuProcesses("qemu", folders).adopt(NODE) is None
    assert time.monotonic() - begin < 1


def test_whatever_is_in_a_run_folder_it_is_removed(folders):
    folders.renew(NODE)
    start = os.open(folders.run(NODE), os.O_RDONLY)
    place = start
    for _ in range(1500):  # deeper than Python recurses
        os.mkdir("d", dir_fd=place)
        deeper = os.open("d", os.O_RDONLY, dir_fd=place)
        if place != start:
            os.close(place)
        place = deeper
    os.close(place)
    os.close(start)
    folders.forget(NODE)
    assert folders.known() == set()


def test_stderr_takes_no_more_than_its_size(folders):
    """A guest can have qemu complain for ever: of a device that it resets and misuses in a loop."""
    file = folders._new_stderr(NODE)
    assert os.write(file, b"qemu: cannot do that\n") > 0
    assert folders.last_error(NODE) == "qemu: cannot do that"
    with pytest.raises(PermissionError):
        for _ in range(STDERR_BYTES):
            os.write(file, b"virtio: error\n" * 100)
    assert os.fstat(file).st_size == STDERR_BYTES
    with pytest.raises(PermissionError):
        os.truncate(file, 2 * STDERR_BYTES)
    folders.forget(NODE)
    assert folders.last_error(NODE) == ""


def test_greeting_is_json_of_any_depth(monitor):
    monitor.sends(lambda: iter([b"[" * 100_000 + b"\n"]))
    with pytest.raises(QmpClosed, match="this is not the monitor of a qemu"):
        Qmp(monitor.path, 2)
    assert json.loads(GREETING.splitlines()[0]) == {"QMP": {}}
