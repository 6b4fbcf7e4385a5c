"""The file of one line: append-only, written by qemu and by us, read at any position, bounded at its head."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from services.console import holes, scrollback
from services.console.scrollback import Extent
from services.contracts import wire
from services.contracts.errors import InvalidRequest
from services.kit.files import write_atomically

log = logging.getLogger(__name__)

LOG_FILE = "line.log"
MARKS_FILE = "line.json"


@dataclass(frozen=True)
class Marks:
    """What is known of a line beside its bytes. power_on: position of the last one; owner: of the node, None while
    nobody has told; begin: what was before belongs to a former owner, and is shown to nobody; machine: the owner for whom
    the machine on it was powered on."""

    name: str = ""
    power_on: int = 0
    owner: str | None = None
    begin: int = 0
    machine: str | None = None


class LineLog:
    """`line.log`, and beside it `line.json`: its marks."""

    def __init__(self, folder: Path, name: str = "") -> None:
        self.path = folder / LOG_FILE
        self._marks_path = folder / MARKS_FILE
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        marks = self._load_marks()
        self._marks = replace(marks, name=name or marks.name)
        self._bounded = True

    @property
    def name(self) -> str:
        return self._marks.name

    @property
    def is_anothers(self) -> bool:
        """Its machine is that of a former owner, and has not ended yet: the present one neither sees nor drives it."""
        return self._marks.machine not in (None, self._marks.owner)

    def extent(self) -> Extent:
        start, end = max(holes.first_data(self._fd), self._marks.begin), self._end()
        return Extent(end if self.is_anothers else start, end, self._marks.power_on)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def mark_power_on(self, name: str) -> None:
        """What a viewer sees first from now on is what comes after this."""
        end = self._end()
        begin = end if self.is_anothers else self._marks.begin
        self._mark(replace(self._marks, name=name, power_on=end, begin=begin, machine=self._marks.owner))

    def change_owner(self, owner: str) -> None:
        """Of the same owner again: nothing."""
        if owner != self._marks.owner:
            begin = self._marks.begin if self._marks.owner is None else self._end()
            self._mark(replace(self._marks, owner=owner, begin=begin))

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

    def _end(self) -> int:
        return os.fstat(self._fd).st_size

    def _mark(self, marks: Marks) -> None:
        self._marks = marks
        write_atomically(self._marks_path, json.dumps(asdict(marks)), 0o600)

    def _load_marks(self) -> Marks:
        try:
            return wire.load(Marks, json.loads(self._marks_path.read_text()))
        except FileNotFoundError:
            return Marks()
        except (ValueError, InvalidRequest) as error:
            log.warning("%s is not readable (%s): only what comes from now on is shown", self._marks_path, error)
            return Marks(begin=self._end())
