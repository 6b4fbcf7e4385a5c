"""What a boot script makes of its host: files fetched, text printed, time spent; all within a budget.

What it is called with may come from an interpreter that a script has taken over: it counts and checks by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.vmrunner.boot.ipxe import Boot, LoadedFile, ScriptEnded
from services.vmrunner.boot.origin import Origin
from services.vmrunner.boot.script_parser import ScriptError

LARGE_BYTES = 50_000_000


@dataclass(frozen=True)
class Budget:
    """Of one run of a script, chained ones included."""

    fetches: int = 64
    output_chars: int = 262_144
    command_line_chars: int = 4096
    seconds: float = 1800.0


@dataclass(frozen=True)
class Fetched:
    path: Path
    size_bytes: int


Progress = Callable[[int, int], None]  # bytes that have arrived, of so many; 0, 0 while there are none


class Fetcher(Protocol):
    """Both raise Failed, naming the URL. on_progress is called now and then, and may raise to end the fetching."""

    def text(self, url: str, on_progress: Progress) -> str: ...

    def file(self, url: str, on_progress: Progress) -> Fetched: ...


@dataclass(frozen=True)
class LoadedFiles:
    """What the script decided to boot. root: the content of a read-only disk."""

    kernel: Fetched
    initrd: Fetched | None
    command_line: str
    root: Fetched | None = None


class ScriptHost:
    """See ipxe.Host; waiting is the interpreter's own. still_wanted: called now and then, and may raise what ends the
    script. ScriptEnded when the budget is used up."""

    def __init__(
        self,
        fetcher: Fetcher,
        origin: Origin,
        say: Callable[[str], None],
        still_wanted: Callable[[], None],
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetcher, self._origin, self._say, self._clock = fetcher, origin, say, clock
        self._still_wanted = still_wanted
        self._budget = budget or Budget()
        self._ends = clock() + self._budget.seconds
        self._output_chars = 0
        self._fetches = 0
        self._files: list[Fetched] = []

    def check(self, *_: int) -> None:
        """Now and then, while the script or a fetch goes on."""
        self._still_wanted()
        if self._clock() >= self._ends:
            raise ScriptEnded(f"the boot script has run for {self._budget.seconds:g} s and no `boot`")

    def say(self, text: str) -> None:
        self.check()
        self._output_chars += len(text) or 1
        if self._output_chars > self._budget.output_chars:
            raise ScriptEnded(f"the boot script prints more than {self._budget.output_chars} characters")
        self._say(text)

    def text(self, url: str) -> str:
        return self._fetcher.text(self._location(url), self.check)

    def file(self, url: str) -> LoadedFile:
        fetched = self._fetcher.file(self._location(url), self._show_progress())
        if fetched not in self._files:
            self._files.append(fetched)
        return LoadedFile(self._files.index(fetched), fetched.size_bytes)

    def loaded(self, boot: Boot) -> LoadedFiles:
        """ScriptError when it names what was not fetched, or its command line is none."""
        if len(boot.command_line) > self._budget.command_line_chars or "\0" in boot.command_line:
            raise ScriptError("the boot script gives a command line that no kernel takes")
        kernel = self._fetched(boot.kernel)
        initrd, root = (None if number is None else self._fetched(number) for number in (boot.initrd, boot.root))
        return LoadedFiles(kernel, initrd, boot.command_line, root)

    def _fetched(self, number: int) -> Fetched:
        if not 0 <= number < len(self._files):
            raise ScriptError("the boot script boots a file that it has not fetched")
        return self._files[number]

    def _location(self, url: str) -> str:
        self.check()
        self._fetches += 1
        if self._fetches > self._budget.fetches:
            raise ScriptEnded(f"the boot script fetches more than {self._budget.fetches} files")
        return self._origin.http_url(url)

    def _show_progress(self) -> Progress:
        """Prints quarters of a large file."""
        shown = 0

        def show(arrived: int, total: int) -> None:
            nonlocal shown
            self.check()
            percent = 100 * arrived // max(total, 1) // 25 * 25
            if total >= LARGE_BYTES and shown < percent < 100:
                shown = percent
                self.say(f"{percent}% ")

        return show
