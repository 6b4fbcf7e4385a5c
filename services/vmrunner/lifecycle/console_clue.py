"""Why a system does not boot or has ended, as its own console shows it. Pure."""

from __future__ import annotations

import re

from services.vmrunner.qemu.console_writer import PREFIX

TAIL_BYTES = 16 * 1024  # of the console's recording, from its end, in which a clue is looked for
MAX_CHARACTERS = 160

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
# Most telling first: a panic follows its reason, and emergency mode the unit that failed.
_CLUES = tuple(
    re.compile(pattern)
    for pattern in (
        r"walt-init: FAILED: .*",
        r"Kernel panic - not syncing.*",
        r"Dependency failed for .*",
        r"You are in (?:emergency|rescue) mode.*",
        r"Out of memory: Killed process.*",
    )
)


def clue(tail: bytes) -> str:
    """The last line of the most telling kind that the system wrote since its power-on, printable; "" if there is none.
    tail: the end of its console's recording, which holds any bytes."""
    since_power_on = tail.rpartition(PREFIX.encode())[2]
    lines = [_plain(line) for line in re.split(r"[\r\n]+", since_power_on.decode(errors="replace"))]
    for pattern in _CLUES:
        for line in reversed(lines):
            found = pattern.search(line)
            if found:
                return found[0][:MAX_CHARACTERS]
    return ""


def _plain(line: str) -> str:
    text = _ESCAPES.sub("", line).strip()
    return "".join(one if one.isprintable() else "?" for one in text)
