"""One serial line: its recording, its socket and its input FIFO. It outlives the VM, and this process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
from pathlib import Path

from services.console.line.recording import Recording
from services.kit import tasks
from walt.contracts.console import LinePaths

log = logging.getLogger(__name__)

SOCKET_FILE = "line.sock"
INPUT_FILE = "line.in"
INPUT_LIMIT_S = 5.0  # how long a VM may leave input unread


class ConsoleLine:
    """The VM appends its output to the recording itself; input reaches it through the FIFO.

    What other services write to the socket is appended to the recording too. OSError if a file cannot be made.
    """

    def __init__(self, folder: Path, name: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
        with contextlib.ExitStack() as undo:
            self.recording = Recording(folder, name)
            undo.callback(self.recording.close)
            _restrict(self.recording.path)
            _make_fifo(folder / INPUT_FILE)
            self._listener = _listen(folder / SOCKET_FILE)
            undo.pop_all()
        self._connections: set[socket.socket] = set()
        self._input_lock = threading.Lock()
        self._grown = tasks.Signal()
        self._accepting = tasks.spawn_loop("connections to console lines", self._accept)

    def paths(self) -> LinePaths:
        return LinePaths(str(self.folder / SOCKET_FILE), str(self.recording.path), str(self.folder / INPUT_FILE))

    def wait_for_growth(self, limit_s: float) -> None:
        """Return early after an event that is likely to make the recording grow."""
        self._grown.wait(limit_s)

    def write(self, data: bytes) -> bool:
        """Send input to the VM; False if there is none of the present owner, or if it does not read."""
        if self.recording.belongs_to_former_owner:
            return False
        with self._input_lock:
            try:
                with tasks.Timeout(INPUT_LIMIT_S, OSError("the VM does not read its input")):
                    written = self._write_fifo(data)
            except OSError as error:
                log.info("%s: input dropped: %s", self.recording.name, error)
                return False
        self._signal_growth()  # the VM is likely to echo it
        return written

    def _write_fifo(self, data: bytes) -> bool:
        """False if nobody reads it. Opened for each message: this is how the kernel tells whether there is a reader."""
        try:
            fd = os.open(self.folder / INPUT_FILE, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return False
            raise
        try:
            while data:
                data = data[tasks.write(fd, data) :]
        finally:
            tasks.close(fd)
        return True

    def close(self) -> None:
        self._accepting.kill()
        for connection in (self._listener, *self._connections):
            connection.close()
        self.recording.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        tasks.spawn(self._copy_to_recording, connection)

    def _copy_to_recording(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        try:
            while data := connection.recv(65536):
                self.recording.append(data)
                self._signal_growth()
        except OSError as error:
            log.info("%s: %s", self.recording.name, error)
        finally:
            self._connections.discard(connection)
            connection.close()

    def _signal_growth(self) -> None:
        grown, self._grown = self._grown, tasks.Signal()
        grown.set()


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        _restrict(path)  # before listen(): until then nobody can connect
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener


def _make_fifo(path: Path) -> None:
    """An existing one is kept with its unread bytes: a running VM holds it open while we restart."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    if not path.is_fifo():
        raise FileExistsError(errno.EEXIST, "is not a FIFO", str(path))
    _restrict(path)


def _restrict(path: Path) -> None:
    """To ourselves, and root: qemu gets these files opened."""
    os.chmod(path, 0o600)
    os.chown(path, os.geteuid(), -1, follow_symlinks=False)
