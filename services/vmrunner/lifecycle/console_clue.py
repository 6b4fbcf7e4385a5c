"""Why a system does not boot, is silent or has ended, as its own console shows it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.vmrunner.qemu.console_writer import PREFIX

TAIL_BYTES = 16 * 1024  # of the console's recording, from its end, in which a clue is looked for
MAX_CHARACTERS = 160

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
# Most telling first: a panic follows its reason, and emergency mode the unit that failed.
_HARD = (r"walt-init: FAILED: .*", r"Kernel panic - not syncing.*", r"reboot: System halted")
_SOFT = (r"You are in (?:emergency|rescue) mode.*", r"Out of memory: Killed process.*")
_CLUES = tuple(map(re.compile, (*_HARD, r"Dependency failed for .*", *_SOFT)))
_SILENCE_CLUES = tuple(map(re.compile, (*_HARD, *_SOFT)))


def clue(tail: bytes) -> str:
    """The last line of the most telling kind that the system wrote since its power-on, printable; "" if there is none.
    tail: the end of its console's recording, which holds any bytes."""
    return _find(tail, _CLUES)


def silence_clue(tail: bytes) -> str:
    """As `clue`, of a system that had booted: a unit that failed while it booted is no reason."""
    return _find(tail, _SILENCE_CLUES)


def _find(tail: bytes, patterns: Sequence[re.Pattern[str]]) -> str:
    since_power_on = tail.rpartition(PREFIX.encode())[2]
    lines = [_plain(line) for line in re.split(r"[\r\n]+", since_power_on.decode(errors="replace"))]
    for pattern in patterns:
        for line in reversed(lines):
            found = pattern.search(line)
            if found:
                return found[0][:MAX_CHARACTERS]
    return ""


def _plain(line: str) -> str:
    text = _ESCAPES.sub("", line).strip()
    return "".join(one if one.isprintable() else "?" for one in text)
