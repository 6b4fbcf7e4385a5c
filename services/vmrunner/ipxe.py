"""The bootloader of virtual nodes: the part of iPXE's script language that boot scripts need, run outside the VM.

    outcome = Interpreter(fetcher, say, pause).run("http://server/boot.ipxe", {"mac": "52:54:00:…"})

Pure: what it fetches, prints and waits for goes through what it is given. An unknown directive is an error in
any place, never skipped; a directive that fails ends the script, unless the line says `||`.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from services.contracts.errors import Failed

MAX_DEPTH = 16
SUCCESS, FAILURE = "&&", "||"


class ScriptError(Failed):
    """A boot script that cannot be run to its `boot`."""


@dataclass(frozen=True)
class Fetched:
    path: Path
    size_bytes: int


class Fetcher(Protocol):
    """Both raise Failed, naming the URL."""

    def text(self, url: str) -> str: ...

    def file(self, url: str) -> Fetched: ...


@dataclass(frozen=True)
class Boot:
    """What the script decided to boot."""

    kernel: Fetched
    initrd: Fetched | None
    command_line: str


@dataclass(frozen=True)
class Step:
    """One command of a line; `after` is the operator before it ('' for the first)."""

    after: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    url: str
    number: int
    steps: tuple[Step, ...]


class _Booted(Exception):
    """`boot` was reached."""


class _Left(Exception):
    """The script ends here without one, whatever its line says of failures."""


@dataclass
class _Images:
    kernel: Fetched | None = None
    arguments: str = ""
    initrd: Fetched | None = None


@dataclass
class Interpreter:
    fetcher: Fetcher
    say: Callable[[str], None]
    pause: Callable[[float], None]
    _variables: dict[str, str] = field(default_factory=dict)
    _images: _Images = field(default_factory=_Images)

    def run(self, url: str, variables: dict[str, str]) -> Boot:
        self._variables, self._images = dict(variables), _Images()
        try:
            self._chain(url, depth=1)
        except _Booted:
            kernel = self._images.kernel
            if kernel is not None:
                return Boot(kernel, self._images.initrd, self._images.arguments)
        except _Left as why:
            raise ScriptError(str(why)) from None
        raise ScriptError(f"{url}: the script ended without a `boot` of a kernel")

    def _chain(self, url: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ScriptError(f"{url}: more than {MAX_DEPTH} scripts chained; does one chain itself?")
        self.say(f"{url} ... ")
        text = self.fetcher.text(served(url, self._variables))
        self.say("ok\n")
        for line in parse(text, url):
            self._line(line, depth)

    def _line(self, line: Line, depth: int) -> None:
        fault: Failed | None = None
        for step in line.steps:
            if (step.after == SUCCESS and fault) or (step.after == FAILURE and not fault):
                continue
            fault = self._attempt(line, step, depth)
        if fault:
            raise fault

    def _attempt(self, line: Line, step: Step, depth: int) -> Failed | None:
        if not step.words:
            return None
        name, *arguments = (expand(word, self._variables) for word in step.words)
        try:
            self._directive(name, arguments, line, depth)
        except ScriptError as fault:
            return fault
        except Failed as fault:
            self.say(f"failed: {fault}\n")
            return ScriptError(f"{line.url}, line {line.number}, {name}: {fault}")
        return None

    def _directive(self, name: str, arguments: list[str], line: Line, depth: int) -> None:
        options = [word for word in arguments if word.startswith("-")]
        if name == "echo":
            self.say(" ".join(a for a in arguments if a != "-n") + ("" if "-n" in options else "\n"))
        elif name == "set":
            self._variables[_first(name, arguments)] = " ".join(arguments[1:])
        elif name == "sleep":
            self.pause(_seconds(_first(name, arguments)))
        elif name == "imgfree":
            self._images = _Images()
        elif name == "boot":
            if self._images.kernel is None:
                raise Failed("no kernel was loaded")
            raise _Booted
        elif name in LEAVING:
            raise _Left(f"{line.url}, line {line.number}: the script gives up: {name}")
        else:
            target, rest = _target(name, arguments)
            self._load(name, joined(line.url, target), rest, depth)

    def _load(self, name: str, url: str, arguments: list[str], depth: int) -> None:
        if name == "chain":
            self._chain(url, depth + 1)
            return
        self.say(f"{url} ... ")
        fetched = self.fetcher.file(served(url, self._variables))
        self.say(f"ok {fetched.size_bytes / 1e6:.1f} MB\n")
        if name == "kernel":
            self._images.kernel, self._images.arguments = fetched, " ".join(arguments)
        elif self._images.initrd is not None and self._images.initrd != fetched:
            raise Failed("a second initrd; allowed: one")
        else:
            self._images.initrd = fetched


LEAVING = ("reboot", "shell", "exit")
LOADING = ("chain", "kernel", "initrd", "imgfetch", "module")
DIRECTIVES = ("echo", "set", "sleep", "imgfree", "boot", *LEAVING, *LOADING)

TFTP = "tftp"
_OF_ONE_NODE = re.compile(r"/boot/(\d+|files)/")
_VARIABLE = re.compile(r"\$\{([^${}]*)\}")


def parse(text: str, url: str) -> list[Line]:
    """The lines of a script; ScriptError naming the line and the word at fault."""
    first, *rest = text.splitlines() or [""]
    if first.strip() != "#!ipxe":
        raise ScriptError(f"{url}: not an iPXE script (its first line is not '#!ipxe')")
    lines = (Line(url, number, tuple(_steps(line))) for number, line in enumerate(rest, start=2))
    return [_checked(line) for line in lines]


def _steps(text: str) -> Iterator[Step]:
    after = ""
    words: list[str] = []
    for word in text.split():
        if word.startswith("#"):
            break
        if word in (SUCCESS, FAILURE):
            yield Step(after, tuple(words))
            after, words = word, []
        else:
            words.append(word)
    yield Step(after, tuple(words))


def _checked(line: Line) -> Line:
    for step in line.steps:
        if step.words and step.words[0] not in DIRECTIVES:
            raise ScriptError(
                f"{line.url}, line {line.number}: '{step.words[0]}' is not a directive known here; "
                f"known: {', '.join(DIRECTIVES)}"
            )
    return line


def expand(word: str, variables: dict[str, str]) -> str:
    """'${mac:hexhyp}' -> '52-54-00-…'; a variable that is not set is empty, as in iPXE."""
    return _VARIABLE.sub(lambda match: _value(match[1], variables), word)


def _value(reference: str, variables: dict[str, str]) -> str:
    name, _, form = reference.partition(":")
    value = variables.get(name, "")
    return value.replace(":", "-") if form == "hexhyp" else value


def joined(base: str, target: str) -> str:
    """Where a path in the script `base` leads. tftp is to be joined as http is, which urllib does not know."""
    scheme = base.partition(":")[0]
    if scheme != TFTP or "://" in target:
        return urllib.parse.urljoin(base, target)
    return TFTP + urllib.parse.urljoin("http" + base.removeprefix(TFTP), target).removeprefix("http")


def served(url: str, variables: dict[str, str]) -> str:
    """Where bootserver has it: what a real machine fetches by tftp too, and what depends on the machine with the address
    that it would be asked from."""
    parts = urllib.parse.urlsplit(url)
    if parts.hostname != variables.get("next-server") or _OF_ONE_NODE.match(parts.path) or "ip" not in variables:
        return url
    query = urllib.parse.urlencode({"node_ip": variables["ip"]})
    return urllib.parse.urlunsplit(parts._replace(scheme="http", query=query))


def _target(name: str, arguments: list[str]) -> tuple[str, list[str]]:
    """The URI among the arguments, and what follows it; options come before it, two of them with a value."""
    words = list(arguments)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("--name", "-n", "--timeout", "-t") and words:
            words.pop(0)
    return _first(name, words), words[1:]


def _first(name: str, arguments: list[str]) -> str:
    if not arguments or not arguments[0]:
        raise Failed(f"'{name}' needs an argument")
    return arguments[0]


def _seconds(text: str) -> float:
    if not text.isdecimal():
        raise Failed(f"'{text}' is not a number of seconds")
    return float(text)
