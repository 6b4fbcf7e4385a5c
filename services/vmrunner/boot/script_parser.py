"""The lines of an iPXE script, and the variables in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from walt.contracts.errors import Failed

SUCCESS, FAILURE = "&&", "||"
QUITTING = ("reboot", "shell", "exit")
LOADING = ("chain", "kernel", "initrd", "imgfetch", "module", "sanhook")
COMMANDS = ("echo", "set", "sleep", "imgfree", "boot", *QUITTING, *LOADING)
SHOWN_CHARS = 60  # of a word that is refused

_VARIABLE = re.compile(r"\$\{([^${}]*)\}")


class ScriptError(Failed):
    """A boot script that cannot be run to its `boot`."""


@dataclass(frozen=True)
class ScriptCommand:
    """operator: the one before it ("" for the first of its line)."""

    operator: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class ScriptLine:
    url: str
    number: int
    commands: tuple[ScriptCommand, ...]


def parse(text: str, url: str) -> list[ScriptLine]:
    """The lines of a script; ScriptError naming the line and the command at fault."""
    first, *rest = text.splitlines() or [""]
    if first.strip() != "#!ipxe":
        raise ScriptError(f"{url}: not an iPXE script (its first line is not '#!ipxe')")
    lines = (ScriptLine(url, number, tuple(_commands(line))) for number, line in enumerate(rest, start=2))
    return [_checked(line) for line in lines]


def _commands(text: str) -> Iterator[ScriptCommand]:
    operator = ""
    words: list[str] = []
    for word in text.split():
        if word.startswith("#"):
            break
        if word in (SUCCESS, FAILURE):
            yield ScriptCommand(operator, tuple(words))
            operator, words = word, []
        else:
            words.append(word)
    yield ScriptCommand(operator, tuple(words))


def _checked(line: ScriptLine) -> ScriptLine:
    for command in line.commands:
        if command.words and command.words[0] not in COMMANDS:
            raise ScriptError(
                f"{line.url}, line {line.number}: '{command.words[0][:SHOWN_CHARS]}' is not a known command; "
                f"allowed: {', '.join(COMMANDS)}"
            )
    return line


def expand(word: str, variables: dict[str, str], limit_chars: int) -> str:
    """'${mac:hexhyp}' -> '52-54-00-…'; a variable that is not set is empty, as in iPXE. Failed above the limit, before
    more memory than that is used."""
    parts: list[str] = []
    at = total = 0
    for match in _VARIABLE.finditer(word):
        parts += [word[at : match.start()], _value(match[1], variables)]
        total += len(parts[-2]) + len(parts[-1])
        at = match.end()
        if total > limit_chars:
            break
    if total + len(word) - at > limit_chars:
        raise Failed("a command that is too long once its variables are expanded")
    return "".join([*parts, word[at:]])


def _value(reference: str, variables: dict[str, str]) -> str:
    name, _, form = reference.partition(":")
    value = variables.get(name, "")
    return value.replace(":", "-") if form == "hexhyp" else value
