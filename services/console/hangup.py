"""Pure: that a command in a node ends with its session. sshd tells a command without a terminal nothing of that.

The command is preceded by a line of ours on its standard error: the number of its process group, sshd makes one for each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARK = b"walt-group:"
LINE_BYTES = len(MARK) + 11
_LINE = re.compile(re.escape(MARK) + rb"([1-9][0-9]{0,9})\n")
_SAY = ("sh", "-c", f"'echo {MARK.decode()}$PPID >&2';")  # whatever the login shell is


def announced(command: Sequence[str]) -> list[str]:
    return [*_SAY, *command]


def order(group: int) -> list[str]:
    """What ends it, as the end of a terminal would."""
    return ["kill", "-HUP", f"-{group}"]  # no "--": shells differ in it


class Group:
    """`number`: None until it was heard."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._rest = b""

    def hear(self, data: bytes) -> bytes:
        """What comes on standard error; given back without our line."""
        if self.number is not None:
            return data
        data, self._rest = self._rest + data, b""
        if found := _LINE.search(data):
            self.number = int(found[1])
            return data[: found.start()] + data[found.end() :]
        begin = data.rfind(b"\n") + 1
        if len(data) - begin < LINE_BYTES and (MARK.startswith(data[begin:]) or data.startswith(MARK, begin)):
            data, self._rest = data[:begin], data[begin:]
        return data
