"""guest/set-addresses: how it is run in a node, and what it answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

PROGRAM = (Path(__file__).parents[1] / "guest/set-addresses").read_text()
MAX_REASON = 200  # characters
_REFUSAL = re.compile(r"walt: (\S+) (\S+) (.+)")

Pair = tuple[str, str]  # as decision.wanted makes them


def command(hosts: str, wanted: Collection[Pair]) -> str:
    """For the shell of the node. hosts: the platform's block of /etc/hosts."""
    words = [word for pair in wanted for word in pair]
    return shlex.join(["sh", "-c", PROGRAM, "set-addresses", hosts.rstrip("\n"), *words])


def refusals(output: str, wanted: Collection[Pair]) -> Mapping[Pair, str]:
    """Why it could not set some of `wanted`. A node may print anything."""
    return {pair: reason for pair, reason in _refusals(output) if pair in wanted}


def _refusals(output: str) -> Iterator[tuple[Pair, str]]:
    for line in output.splitlines():
        if match := _REFUSAL.fullmatch(line):
            yield (match[1], match[2]), printable(match[3])


def printable(text: str) -> str:
    """One line of what a node says."""
    return "".join(character if character.isprintable() else " " for character in text).strip()[:MAX_REASON]
