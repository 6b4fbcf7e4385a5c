"""The bootloader of VMs: the part of iPXE's script language that boot scripts need, run outside the VM.

    boot = Interpreter(host).run("http://server/boot.ipxe", {"mac": "52:54:00:…"})

Pure: it fetches, prints and waits through what it is given. An unknown command is an error wherever it is, never
skipped; a command that fails ends the script, unless `||` follows it. A script is a user's own: `Limits` bound the
memory that it takes here, and script_host.py what it makes of its host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from services.vmrunner.boot.origin import joined
from services.vmrunner.boot.script_menu import Menu, split_options
from services.vmrunner.boot.script_parser import (
    CHOOSING,
    FAILURE,
    QUITTING,
    SUCCESS,
    ScriptCommand,
    ScriptError,
    ScriptLine,
    parse,
)
from services.vmrunner.boot.script_values import SHOWN_CHARS, expand, listed
from walt.contracts.errors import Failed

MAX_DEPTH = 16
WITH_VALUE_OF_CHOOSE = ("--menu", "-m", "--default", "-d", "--timeout", "-t", "--retimeout", "-r")


@dataclass(frozen=True)
class Limits:
    """Of one run of the interpreter, chained scripts included."""

    commands: int = 1000
    command_chars: int = 4096  # after expansion; Linux takes 2048 on x86
    variable_chars: int = 65_536  # names and values of all variables


@dataclass(frozen=True)
class LoadedFile:
    """number: by which the host knows it; the same content has the same number."""

    number: int
    size_bytes: int


@dataclass(frozen=True)
class Boot:
    """What the script decided to boot, as numbers of files. root: the content of a read-only disk."""

    kernel: int
    initrd: int | None
    root: int | None
    command_line: str


class Host(Protocol):
    """Fetching raises Failed, naming the URL; all may raise what ends the script."""

    def say(self, text: str) -> None: ...

    def sleep(self, seconds: float) -> None: ...

    def text(self, url: str) -> str: ...

    def file(self, url: str) -> LoadedFile: ...


class ScriptEnded(Exception):
    """The script ends without a boot, whatever operators its line has."""


class _Booted(Exception):
    """`boot` was reached."""


class _Jump(Exception):
    """`goto` was reached; its argument is the label."""


class _IsFalse(Failed):
    """What `isset` and `iseq` ask is not so: no fault to print."""


@dataclass(frozen=True)
class _Frame:
    """A script under way. labels: each with its place among the lines."""

    depth: int
    labels: dict[str, int]


@dataclass
class _LoadedImages:
    kernel: LoadedFile | None = None
    arguments: str = ""
    initrd: LoadedFile | None = None
    root: LoadedFile | None = None


@dataclass
class Interpreter:
    host: Host
    limits: Limits = field(default_factory=Limits)
    _commands: int = 0
    _variables: dict[str, str] = field(default_factory=dict)
    _images: _LoadedImages = field(default_factory=_LoadedImages)
    _menu: Menu | None = None

    def run(self, url: str, variables: dict[str, str]) -> Boot:
        """Once."""
        self._variables = dict(variables)
        try:
            self._chain(url, depth=1)
        except _Booted:
            images = self._images
            if images.kernel is not None:
                return Boot(images.kernel.number, _number(images.initrd), _number(images.root), images.arguments)
        except ScriptEnded as why:
            raise ScriptError(str(why)) from None
        raise ScriptError(f"{url}: the script ended without a `boot` of a kernel")

    def _chain(self, url: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ScriptError(f"{url}: more than {MAX_DEPTH} scripts chained; does one chain itself?")
        self.host.say(f"{url} ... ")
        text = self.host.text(url)
        self.host.say("ok\n")
        lines = parse(text, url)
        frame = _Frame(depth, {line.label: at for at, line in reversed(list(enumerate(lines))) if line.label})
        at = 0
        while at < len(lines):
            try:
                self._line(lines[at], frame)
                at += 1
            except _Jump as jump:
                at = frame.labels[str(jump)]

    def _line(self, line: ScriptLine, frame: _Frame) -> None:
        fault: Failed | None = None
        for command in line.commands:
            if (command.operator == SUCCESS and fault) or (command.operator == FAILURE and not fault):
                continue
            fault = self._attempt(line, command, frame)
        if fault:
            raise fault

    def _attempt(self, line: ScriptLine, command: ScriptCommand, frame: _Frame) -> Failed | None:
        if not command.words:
            return None
        self._commands += 1
        if self._commands > self.limits.commands:
            raise ScriptEnded(f"the boot script has run {self.limits.commands} commands and no `boot`")
        try:
            name, *arguments = self._expand(command)
            self._execute(name, arguments, line, frame)
        except ScriptError as fault:
            return fault
        except Failed as fault:
            if not isinstance(fault, _IsFalse):
                self.host.say(f"failed: {fault}\n")
            return ScriptError(f"{line.url}, line {line.number}, {command.words[0]}: {fault}")
        return None

    def _expand(self, command: ScriptCommand) -> list[str]:
        left, words = self.limits.command_chars, []
        for word in command.words:
            words.append(expand(word, self._variables, left))
            left -= len(words[-1])
        return words

    def _execute(self, name: str, arguments: list[str], line: ScriptLine, frame: _Frame) -> None:
        options = [word for word in arguments if word.startswith("-")]
        if name == "echo":
            self.host.say(" ".join(a for a in arguments if a != "-n") + ("" if "-n" in options else "\n"))
        elif name == "set":
            self._set(_first(name, arguments), " ".join(arguments[1:]))
        elif name == "sleep":
            self.host.sleep(_seconds(_first(name, arguments)))
        elif name == "imgfree":
            self._images = _LoadedImages()
        elif name == "boot":
            if self._images.kernel is None:
                raise Failed("no kernel was loaded")
            raise _Booted
        elif name in CHOOSING:
            self._choose(name, arguments, frame)
        elif name in QUITTING:
            raise ScriptEnded(f"{line.url}, line {line.number}: the script gives up: {name}")
        else:
            target, rest = _target(name, arguments)
            self._load(name, joined(line.url, target), rest, frame.depth)

    def _choose(self, name: str, arguments: list[str], frame: _Frame) -> None:
        if name == "isset":
            if not any(arguments):
                raise _IsFalse("it is not set")
        elif name == "iseq":
            if len(arguments) != 2:
                raise Failed("'iseq' needs two arguments")
            if arguments[0] != arguments[1]:
                raise _IsFalse(f"'{arguments[0][:SHOWN_CHARS]}' is not '{arguments[1][:SHOWN_CHARS]}'")
        elif name == "goto":
            label = _first(name, arguments)
            if label not in frame.labels:
                raise Failed(f"there is no label '{label[:SHOWN_CHARS]}'; allowed: {listed(list(frame.labels))}")
            raise _Jump(label)
        else:
            self._use_menu(name, arguments)

    def _use_menu(self, name: str, arguments: list[str]) -> None:
        if name == "menu":
            self._menu = Menu(" ".join(split_options(arguments, ("--name", "-n"))[1]))
        elif self._menu is None:
            raise Failed(f"'{name}' without a `menu` before it")
        elif name == "item":
            self._menu.add(arguments)
        else:
            options, words = split_options(arguments, WITH_VALUE_OF_CHOOSE)
            chosen = self._menu.chosen(options.get("--default") or options.get("-d") or "")
            for shown in (*self._menu.lines(), f"chosen: {chosen}"):
                self.host.say(f"{shown}\n")
            self._set(_first(name, words), chosen)

    def _set(self, name: str, value: str) -> None:
        if ":" in name:
            raise Failed(f"'{name}' has a form; `set` and `choose` take a name without one")
        self._variables[name] = value
        if sum(len(key) + len(text) for key, text in self._variables.items()) > self.limits.variable_chars:
            limit = self.limits.variable_chars
            raise ScriptEnded(f"the variables of the boot script have more than {limit} characters")

    def _load(self, name: str, url: str, arguments: list[str], depth: int) -> None:
        if name == "chain":
            self._chain(url, depth + 1)
            return
        self.host.say(f"{url} ... ")
        fetched = self.host.file(url)
        self.host.say(f"ok {fetched.size_bytes / 1e6:.1f} MB\n")
        if name == "kernel":
            self._images.kernel, self._images.arguments = fetched, " ".join(arguments)
        elif name == "sanhook":
            self._images.root = fetched
        elif self._images.initrd is not None and self._images.initrd != fetched:
            raise Failed("a second initrd; allowed: one")
        else:
            self._images.initrd = fetched


def _number(file: LoadedFile | None) -> int | None:
    return None if file is None else file.number


def _target(name: str, arguments: list[str]) -> tuple[str, list[str]]:
    """The URI among the arguments, and the arguments after it; options come before it, two of them with a value."""
    _, words = split_options(arguments, ("--name", "-n", "--timeout", "-t", "--drive", "-d"))
    return _first(name, words), words[1:]


def _first(name: str, arguments: list[str]) -> str:
    if not arguments or not arguments[0]:
        raise Failed(f"'{name}' needs an argument")
    return arguments[0]


def _seconds(text: str) -> float:
    if not text.isdecimal() or len(text) > 6:
        raise Failed(f"'{text[:20]}' is not a number of seconds below a million")
    return float(text)
