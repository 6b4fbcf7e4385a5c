"""A program on a pseudo-terminal, as a person uses it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence


class ProgramOnTerminal:
    """`seen` is all that the program has shown so far."""

    def __init__(self, argv: Sequence[str | os.PathLike[str]], environment: Mapping[str, str]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_for(self, text: bytes, limit_s: float = 30, times: int = 1) -> None:
        """Until `text` has been shown that often."""
        end = time.monotonic() + limit_s
        while self.seen.count(text) < times:
            assert time.monotonic() < end, f"{text!r} not in {self.seen[-2000:]!r}"
            ready, _, _ = select.select([self.master], [], [], 0.2)
            if ready:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self.master, 65536)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
