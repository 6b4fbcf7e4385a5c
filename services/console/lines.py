"""The lines of this host: a socket and a file per node. They outlive the machines, and this process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import socket
from pathlib import Path

import eventlet
from eventlet import hubs
from eventlet.event import Event
from eventlet.green import os as green_os
from eventlet.semaphore import Semaphore

from services.console import metrics
from services.console.log import LineLog
from services.contracts.console import Line as LinePlace
from services.contracts.errors import Failed

log = logging.getLogger(__name__)

SOCKET_FILE = "line.sock"
INPUT_FILE = "line.in"
INPUT_LIMIT_S = 5.0  # how long a machine may refuse to take input
TRIM_EVERY_S = 1.0


class Line:
    """One serial line. Its file is written by the machine itself; input goes to the machine through a FIFO.

    What comes on the socket (vmrunner's words) is appended to the file too.
    """

    def __init__(self, folder: Path, vm_uid: int, name: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o711)  # qemu's user passes through; the files themselves are for it and root only
        with contextlib.ExitStack() as undo:
            self.log = LineLog(folder, name)
            undo.callback(self.log.close)
            _give(self.log.path, vm_uid)
            _make_fifo(folder / INPUT_FILE, vm_uid)
            self._listener = _listen(folder / SOCKET_FILE, vm_uid)
            undo.pop_all()
        self._connections: set[socket.socket] = set()
        self._input_turn = Semaphore()
        self._grown = Event()
        self._accepting = eventlet.spawn(self._accept)

    def place(self) -> LinePlace:
        return LinePlace(str(self.folder / SOCKET_FILE), str(self.log.path), str(self.folder / INPUT_FILE))

    def wait_growth(self, limit_s: float) -> None:
        """Return early when something happened after which the file is likely to grow."""
        with eventlet.Timeout(limit_s, False):
            self._grown.wait()

    def write(self, data: bytes) -> bool:
        """Input for the machine; False when none of the present owner is there, or when it does not take it."""
        if self.log.is_anothers:
            return False
        with self._input_turn:
            try:
                with eventlet.Timeout(INPUT_LIMIT_S, OSError("the machine takes no input")):
                    taken = self._write_fifo(data)
            except OSError as error:
                log.info("%s: input dropped: %s", self.log.name, error)
                return False
        self._signal()  # an echo is to be expected
        return taken

    def _write_fifo(self, data: bytes) -> bool:
        try:
            fd = os.open(self.folder / INPUT_FILE, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody reads it
                return False
            raise
        try:
            while data:
                data = data[green_os.write(fd, data) :]
        finally:
            hubs.notify_close(fd)
            os.close(fd)
        return True

    def close(self) -> None:
        self._accepting.kill()
        for connection in (self._listener, *self._connections):
            connection.close()
        self.log.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                log.error("%s: %s", self.folder, error)
                eventlet.sleep(1)
                continue
            eventlet.spawn_n(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        try:
            while data := connection.recv(65536):
                self.log.append(data)
                self._signal()
        except OSError as error:
            log.info("%s: %s", self.log.name, error)
        finally:
            self._connections.discard(connection)
            connection.close()

    def _signal(self) -> None:
        grown, self._grown = self._grown, Event()
        grown.send()


class Lines:
    """All lines of this host, by node id."""

    def __init__(self, folder: Path, vm_uid: int) -> None:
        self._folder = folder
        self._vm_uid = vm_uid
        self._lines: dict[int, Line] = {}
        metrics.LINES.set_function(lambda: len(self._lines))

    def reopen(self) -> None:
        """Listen again on every line that was there before this process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self._folder, 0o711)
        for folder in self._folder.iterdir():
            if folder.name.isdigit():
                self._open(int(folder.name), "")

    def ids(self) -> set[int]:
        return set(self._lines)

    def change_owner(self, node_id: int, owner: str) -> None:
        if node_id in self._lines:
            self._lines[node_id].log.change_owner(owner)

    def get(self, node_id: int, name: str) -> Line:
        return self._lines.get(node_id) or self._open(node_id, name)

    def remove(self, node_id: int) -> None:
        line = self._lines.pop(node_id, None)
        if line is not None:
            line.close()
        shutil.rmtree(self._folder / str(node_id), ignore_errors=True)

    def trim_for_ever(self) -> None:
        while True:
            eventlet.sleep(TRIM_EVERY_S)
            for line in list(self._lines.values()):
                line.log.trim()

    def close(self) -> None:
        while self._lines:
            self._lines.popitem()[1].close()

    def _open(self, node_id: int, name: str) -> Line:
        folder = self._folder / str(node_id)
        try:
            self._lines[node_id] = Line(folder, self._vm_uid, name)
        except OSError as error:
            raise Failed(f"the console line in {folder} cannot be opened: {error}") from error
        return self._lines[node_id]


def _listen(path: Path, uid: int) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        _give(path, uid)  # before listen(): until then nobody gets in
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener


def _make_fifo(path: Path, uid: int) -> None:
    """What nobody has read yet stays in it: a machine that runs keeps it open over our restart."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    if not path.is_fifo():
        raise FileExistsError(errno.EEXIST, "is not a FIFO", str(path))
    _give(path, uid)


def _give(path: Path, uid: int) -> None:
    os.chmod(path, 0o600)
    if os.geteuid() != uid:
        os.chown(path, uid, -1, follow_symlinks=False)
