"""End a command in a node together with its session: sshd does not, unless the command has a terminal. Pure.

sshd gives each command a process group. We prefix the command with one that prints the number of that group as the
first line of standard error, take the line out of what the user sees, and later send SIGHUP to the group.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARKER = b"walt-group:"
MAX_LINE_BYTES = len(MARKER) + 11
_LINE = re.compile(re.escape(MARKER) + rb"([1-9][0-9]{0,9})\n")
_PRINT_MARKER = ("sh", "-c", f"'echo {MARKER.decode()}$PPID >&2';")  # works in any login shell


def with_marker(command: Sequence[str]) -> list[str]:
    """The command, which first prints its process group."""
    return [*_PRINT_MARKER, *command]


def hangup_argv(group: int) -> list[str]:
    """The command that ends the group, as the loss of a terminal would."""
    return ["kill", "-HUP", f"-{group}"]  # no "--": shells differ in it


class ProcessGroupFinder:
    """group: None until the marker was seen."""

    def __init__(self) -> None:
        self.group: int | None = None
        self._held_back = b""

    def filter(self, data: bytes) -> bytes:
        """Take the next piece of standard error; return it without our line (the start of which may be held back)."""
        if self.group is not None:
            return data
        data, self._held_back = self._held_back + data, b""
        if found := _LINE.search(data):
            self.group = int(found[1])
            return data[: found.start()] + data[found.end() :]
        begin = data.rfind(b"\n") + 1
        last_line = data[begin:]
        if len(last_line) < MAX_LINE_BYTES and (MARKER.startswith(last_line) or last_line.startswith(MARKER)):
            data, self._held_back = data[:begin], last_line
        return data
