"""The lines and labels of an iPXE script. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.vmrunner.boot.script_values import SHOWN_CHARS
from walt.contracts.errors import Failed

SUCCESS, FAILURE = "&&", "||"
QUITTING = ("reboot", "shell", "exit")
LOADING = ("chain", "kernel", "initrd", "imgfetch", "module", "sanhook")
CHOOSING = ("isset", "iseq", "goto", "menu", "item", "choose")
COMMANDS = ("echo", "set", "sleep", "imgfree", "boot", *CHOOSING, *QUITTING, *LOADING)
LABEL = ":"


class ScriptError(Failed):
    """A boot script that cannot be run to its `boot`."""


@dataclass(frozen=True)
class ScriptCommand:
    """operator: the one before it ("" for the first of its line)."""

    operator: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class ScriptLine:
    """label: that of a line `:label`, which has no commands."""

    url: str
    number: int
    commands: tuple[ScriptCommand, ...]
    label: str = ""


def parse(text: str, url: str) -> list[ScriptLine]:
    """The lines of a script; ScriptError naming the line and the command at fault."""
    first, *rest = text.splitlines() or [""]
    if first.strip() != "#!ipxe":
        raise ScriptError(f"{url}: not an iPXE script (its first line is not '#!ipxe')")
    return [_line(url, number, line) for number, line in enumerate(rest, start=2)]


def _line(url: str, number: int, text: str) -> ScriptLine:
    if text.lstrip().startswith(LABEL):
        label, *_ = text.strip().removeprefix(LABEL).split() or [""]
        return ScriptLine(url, number, (), label)
    return _checked(ScriptLine(url, number, tuple(_commands(text))))


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
