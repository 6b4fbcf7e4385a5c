"""A node's console line: our own words on it (the countdown, the bootloader's steps), and its ends for qemu."""

from __future__ import annotations

import contextlib
import logging
import os
import socket

from services.contracts.console import Line

SAY = "walt-boot: "
SEND_LIMIT_S = 2.0

log = logging.getLogger(__name__)


class LineWriter:
    """Writes to the line's socket; while console is away, to its file, where console finds it again."""

    def __init__(self, line: Line) -> None:
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


class Words:
    """Ours on the line of one machine. `writer`: while a boot is ours, from power-on until qemu has the line."""

    def __init__(self) -> None:
        self.writer: LineWriter | None = None
        self._line: Line | None = None

    def open(self, line: Line) -> LineWriter:
        self._line = line
        self.writer = LineWriter(line)
        return self.writer

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def count(self, seconds_left: int) -> None:
        if self.writer is not None:
            self.writer.write(f"\r{SAY}booting in {seconds_left} s ")

    def say(self, sentence: str) -> None:
        """On a line of its own, also while qemu has it."""
        if self.writer is not None:
            self.writer.write(f"\n{SAY}{sentence}\n")
        elif self._line is not None:
            with contextlib.closing(LineWriter(self._line)) as writer:
                writer.write(f"\n{SAY}{sentence}\n")


def open_input(line: Line) -> int:
    """For qemu's standard input. Open for both ways, a FIFO never waits for its other end and never sees EOF."""
    return os.open(line.input, os.O_RDWR | os.O_CLOEXEC)


def open_log(line: Line) -> int:
    """For qemu's standard output, and for us while console is away."""
    return os.open(line.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
