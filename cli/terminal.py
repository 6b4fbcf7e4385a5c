"""This process's terminal (or pipes): raw while a session lasts, restored whatever happens."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import tty
from collections.abc import Callable
from types import TracebackType

from cli.output import printable

STDIN, STDOUT, STDERR = 0, 1, 2
CHUNK = 16_384
IDLE_S = 1.0

USUAL_ROWS, USUAL_COLUMNS = 24, 80


class Terminal:
    """`resized` becomes readable when the window has changed; `take_resize` empties it.

    `idle` is called now and then while nobody takes our output (a pager, ctrl-s).
    """

    def __init__(self, raw: bool, reads: bool = True) -> None:
        self.has_input = reads
        self.raw = raw and self.has_input and os.isatty(STDIN)
        self._undo = contextlib.ExitStack()
        self.resized, self._resize = -1, -1
        self.idle: Callable[[], None] = lambda: None

    def __enter__(self) -> Terminal:
        with contextlib.ExitStack() as stack:
            self.resized, self._resize = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, self.resized)
            stack.callback(os.close, self._resize)
            if self.raw:
                stack.callback(signal.signal, signal.SIGWINCH, signal.signal(signal.SIGWINCH, self._on_resize))
                stack.callback(termios.tcsetattr, STDIN, termios.TCSANOW, termios.tcgetattr(STDIN))
                tty.setraw(STDIN, termios.TCSANOW)
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._undo.close()

    def size(self) -> tuple[int, int]:
        """Rows and columns; a terminal that does not know its own (0) counts as the usual one."""
        columns, rows = os.get_terminal_size(STDIN)
        return rows or USUAL_ROWS, columns or USUAL_COLUMNS

    def take_resize(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.resized, CHUNK)

    def read(self) -> bytes:
        try:
            return os.read(STDIN, CHUNK)
        except OSError:  # the terminal has gone, or was never readable: no more input
            return b""

    def write(self, data: bytes, stream: str = "out") -> None:
        descriptor = STDERR if stream == "err" else STDOUT
        while data:
            while not select.select([], [descriptor], [], IDLE_S)[1]:
                self.idle()
            data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]  # of a pipe, so much is free now

    def tell(self, text: str) -> None:
        end = "\r\n" if self.raw else "\n"
        lines = [f"walt: {printable(line)}{end}" for line in text.splitlines()]
        self.write("".join(["\r\n" if self.raw else "", *lines]).encode(), "err")

    def _on_resize(self, *_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._resize, b"w")
