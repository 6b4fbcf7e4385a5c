"""All serial lines of this host, by node id; each in a folder of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from services.console import metrics
from services.console.line.line import ConsoleLine
from walt.contracts.errors import Failed
from walt.contracts.nodes import Owner


class ConsoleLines:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[int, ConsoleLine] = {}
        metrics.LINES.set_function(lambda: len(self._lines))

    def reopen(self) -> None:
        """Open every line that an earlier process has left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self._folder, 0o700)
        for folder in self._folder.iterdir():
            if folder.name.isdigit():
                self._open(int(folder.name), "")

    def ids(self) -> set[int]:
        return set(self._lines)

    def get(self, node_id: int, name: str) -> ConsoleLine:
        """Made if there is none yet; Failed if that is impossible."""
        return self._lines.get(node_id) or self._open(node_id, name)

    def change_owner(self, node_id: int, owner: Owner) -> None:
        if node_id in self._lines:
            self._lines[node_id].recording.change_owner(owner)

    def remove(self, node_id: int) -> None:
        line = self._lines.pop(node_id, None)
        if line is not None:
            line.close()
        shutil.rmtree(self._folder / str(node_id), ignore_errors=True)

    def trim(self) -> None:
        for line in list(self._lines.values()):
            line.recording.trim()

    def close(self) -> None:
        while self._lines:
            self._lines.popitem()[1].close()

    def _open(self, node_id: int, name: str) -> ConsoleLine:
        folder = self._folder / str(node_id)
        try:
            self._lines[node_id] = ConsoleLine(folder, name)
        except OSError as error:
            raise Failed(f"the console line in {folder} cannot be opened: {error}") from error
        return self._lines[node_id]
