"""The terminal of this process, or its pipes: raw while a session lasts, and restored however it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import tty
from collections.abc import Callable
from types import TracebackType

from walt.contracts.printable import printable

from .terminal_modes import TerminalModes

STDIN, STDOUT, STDERR = 0, 1, 2
CHUNK = 16_384
BLOCKED_POLL_S = 1.0

USUAL_ROWS, USUAL_COLUMNS = 24, 80


def write_all(descriptor: int, data: bytes, while_blocked: Callable[[], None]) -> None:
    """while_blocked: called about once per second while nobody takes it."""
    while data:
        while not select.select([], [descriptor], [], BLOCKED_POLL_S)[1]:
            while_blocked()
        data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]  # select promises this much room in a pipe


class LocalTerminal:
    """raw: if standard input is a terminal, each key is passed on as it is. At the end the terminal is as it was,
    whatever programs in the node did to it.

    `resized` becomes readable when the window has changed; `clear_resize` makes it unreadable again. `while_blocked` is
    called about once per second while our output is blocked (by a pager, or ctrl-s).
    """

    def __init__(self, raw: bool, has_input: bool = True) -> None:
        self.has_input = has_input
        self.raw = raw and self.has_input and os.isatty(STDIN)
        self._undo = contextlib.ExitStack()
        self._modes = TerminalModes() if self.raw and os.isatty(STDOUT) else None
        self.resized, self._resize = -1, -1
        self.while_blocked: Callable[[], None] = lambda: None

    def __enter__(self) -> LocalTerminal:
        with contextlib.ExitStack() as stack:
            self.resized, self._resize = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, self.resized)
            stack.callback(os.close, self._resize)
            if self.raw:
                stack.callback(signal.signal, signal.SIGWINCH, signal.signal(signal.SIGWINCH, self._on_resize))
                stack.callback(termios.tcsetattr, STDIN, termios.TCSANOW, termios.tcgetattr(STDIN))
                tty.setraw(STDIN, termios.TCSANOW)
                stack.callback(self._undo_modes)
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._undo.close()

    def size(self) -> tuple[int, int]:
        """Rows and columns; a terminal that reports 0 counts as one of the usual size."""
        columns, rows = os.get_terminal_size(STDIN)
        return rows or USUAL_ROWS, columns or USUAL_COLUMNS

    def clear_resize(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.resized, CHUNK)

    def read(self) -> bytes:
        try:
            return os.read(STDIN, CHUNK)
        except OSError:  # the terminal is gone, or was never readable
            return b""

    def write(self, data: bytes, stream: str = "out") -> None:
        descriptor = STDERR if stream == "err" else STDOUT
        if self._modes is not None:
            self._modes.feed(data)
        write_all(descriptor, data, self.while_blocked)

    def print_message(self, text: str) -> None:
        end = "\r\n" if self.raw else "\n"
        lines = [f"walt: {printable(line)}{end}" for line in text.splitlines()]
        self.write("".join(["\r\n" if self.raw else "", *lines]).encode(), "err")

    def _undo_modes(self) -> None:
        if self._modes is not None and (sequences := self._modes.undo()):
            with contextlib.suppress(OSError):  # the terminal is gone
                os.write(STDOUT, sequences)

    def _on_resize(self, *_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._resize, b"w")
