"""What vmrunner itself writes on a node's line (the countdown, the steps of the bootloader), and the line's ends for
qemu."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable

from walt.contracts.console import LinePaths
from walt.contracts.errors import WaltError

PREFIX = "walt-boot: "  # of each line that is ours
SEND_LIMIT_S = 2.0

log = logging.getLogger(__name__)


class LineWriter:
    """Writes to the line's socket or, while console is away, to its recording, where console finds it later."""

    def __init__(self, line: LinePaths) -> None:
        self.line = line
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SEND_LIMIT_S)
        try:
            self._socket.connect(line.socket)
        except OSError:
            self.close()

    def write(self, text: str) -> None:
        data = text.replace("\n", "\r\n").encode()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendall(data)
                return
            self.close()
        try:
            with open(open_log(self.line), "ab") as file:
                file.write(data)
        except OSError as error:
            log.warning("%s: %s", self.line.log, error)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class ConsoleWriter:
    """Our messages on the line of one VM. prepare_line: makes the line, WaltError when it cannot; writer: from power-on
    until qemu has the line."""

    def __init__(self, prepare_line: Callable[[], LinePaths]) -> None:
        self.writer: LineWriter | None = None
        self._prepare_line = prepare_line
        self._line: LinePaths | None = None

    def open(self, reason: str = "") -> LineWriter:
        """Marks a power-on in the recording. reason: why the node boots, to show on the line."""
        self.close()
        self._line = self._prepare_line()
        self.writer = LineWriter(self._line)
        if reason:
            self.say(reason)
        return self.writer

    def tail(self, limit: int) -> bytes:
        """The last bytes of the recording; none when it cannot be read."""
        with contextlib.suppress(WaltError, OSError):
            self._line = self._line or self._prepare_line()
            with open(self._line.log, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
                return file.read(limit)
        return b""

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def count(self, seconds_left: int) -> None:
        if self.writer is not None:
            self.writer.write(f"\r{PREFIX}booting in {seconds_left} s ")

    def say(self, sentence: str) -> None:
        """On a line of its own, also while qemu has it."""
        if self.writer is not None:
            self.writer.write(f"\n{PREFIX}{sentence}\n")
        elif self._line is not None:
            with contextlib.closing(LineWriter(self._line)) as writer:
                writer.write(f"\n{PREFIX}{sentence}\n")


def open_input(line: LinePaths) -> int:
    """For qemu's standard input. A FIFO opened both ways never waits for its other end and never sees its end."""
    return os.open(line.input, os.O_RDWR | os.O_CLOEXEC)


def open_log(line: LinePaths) -> int:
    """For qemu's standard output, and for us while console is away."""
    return os.open(line.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
