"""The file of one line: append-only, written by qemu and by us, read at any position, bounded at its head."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from services.console import holes, scrollback
from services.console.scrollback import Extent
from services.kit.files import write_atomically

log = logging.getLogger(__name__)

LOG_FILE = "line.log"
MARKS_FILE = "line.json"


class LineLog:
    """`line.log`, and beside it `line.json`: the name of the node and the position of its last power-on."""

    def __init__(self, folder: Path, name: str = "") -> None:
        self.path = folder / LOG_FILE
        self._marks_path = folder / MARKS_FILE
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        marks = self._load_marks()
        self.name, self._power_on = name or marks[0], marks[1]
        self._bounded = True

    def extent(self) -> Extent:
        return Extent(holes.first_data(self._fd), os.fstat(self._fd).st_size, self._power_on)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def mark_power_on(self, name: str) -> None:
        """What a viewer sees first from now on is what comes after this."""
        self.name, self._power_on = name, os.fstat(self._fd).st_size
        write_atomically(self._marks_path, json.dumps({"name": name, "power_on": self._power_on}), 0o600)

    def trim(self) -> None:
        end = scrollback.head_to_drop(self.extent())
        if end is None or not self._bounded:
            return
        try:
            holes.punch(self._fd, end)
        except OSError as error:
            self._bounded = False
            log.warning("%s will grow without bound: %s", self.path, error)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _load_marks(self) -> tuple[str, int]:
        try:
            marks = json.loads(self._marks_path.read_text())
            return str(marks["name"]), int(marks["power_on"])
        except FileNotFoundError:
            return "", 0
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is not readable (%s): power-on is taken as the beginning", self._marks_path, error)
            return "", 0
