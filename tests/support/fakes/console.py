"""`console@HOST` as its peers know it: the files of a line, and commands in a guest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.fakes.fake_service import FakeService, serves
from walt.contracts import console, serialization
from walt.contracts.console import CommandResult, LinePaths


class FakeConsole(FakeService):
    """commands: argv of each command so far; status_of: the exit status of each; output: of all of them."""

    def __init__(self, folder: Path, host: str = "lab") -> None:
        super().__init__()
        self.name = console.service_on(host)
        self.folder = folder
        self.commands: list[list[str]] = []
        self.status_of: Callable[[list[str]], int] = lambda command: 0
        self.output = "its output"

    @serves
    def prepare_line(self, node_id: int, name: str, owner: str | None = None, owner_account: str = "") -> Any:
        line = LinePaths(*(str(self.folder / f"{node_id}.{end}") for end in ("sock", "log", "in")))
        with contextlib.suppress(FileExistsError):
            os.mkfifo(line.input)
        Path(line.log).touch()
        return serialization.dump(line)

    @serves
    def run_command(self, node_id: int, command: list[str], timeout_s: float) -> Any:
        self.commands.append(command)
        return serialization.dump(CommandResult(self.status_of(command), self.output))

    @serves
    def diagnose(self) -> list[Any]:
        return []
