"""What a command is given as a lab: a FILE, - (standard input), or the NAME of one that was applied."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from walt.client import Client
from walt.contracts.errors import WIRE_ERRORS, Failed, InvalidRequest, NotFound, WaltError, together
from walt.contracts.labs import LabDocument, LabFault, LabView
from walt.replies import read

from . import grammar
from .grammar import LabReading
from .yaml_tree import MAX_FILE_BYTES, FileFaults, Finding

T = TypeVar("T")

STANDARD_INPUT = "-"
STANDARD_INPUT_LABEL = "standard input"


@dataclass(frozen=True)
class LabSource:
    """label: as messages call it; reading: of a file, None for a lab that was applied."""

    label: str
    document: LabDocument
    reading: LabReading | None = None

    @property
    def folder(self) -> Path:
        """Where relative paths of files begin."""
        return Path(self.label).parent if self.reading and self.label != STANDARD_INPUT_LABEL else Path()

    def refusal(self, faults: Sequence[LabFault]) -> WaltError:
        """What the platform says of it, in the order of the file."""
        kinds = [WIRE_ERRORS.get(fault.error, Failed) for fault in faults]
        if self.reading is None:
            return together([kind(f"{self.label}: {one.sentence}") for kind, one in zip(kinds, faults, strict=True)])
        found = sorted(zip(self.reading.located(tuple(faults)), kinds, strict=True), key=lambda pair: pair[0].position)
        return together([kind(*_sentences(self.label, [finding])) for finding, kind in found])


@dataclass(frozen=True)
class ConvertedFile:
    """left_out: a sentence for each thing, with its place."""

    document: LabDocument
    left_out: list[str]


def convert_file(source: str) -> ConvertedFile:
    """Of containerlab; InvalidRequest for a file that is none."""
    from . import containerlab

    done = _parsed(source, containerlab.convert)
    return ConvertedFile(done.document, _sentences(_label(source), done.left_out))


def is_file(source: str) -> bool:
    """Names of labs have neither dots nor slashes."""
    return source == STANDARD_INPUT or "." in source or "/" in source


def read_file(source: str) -> LabSource:
    """InvalidRequest with all that is wrong with it."""
    reading = _parsed(source, grammar.read)
    if findings := reading.all_findings():
        raise InvalidRequest(*_sentences(_label(source), findings))
    return LabSource(_label(source), reading.document, reading)


def load(client: Client, source: str) -> LabSource:
    if is_file(source):
        return read_file(source)
    return LabSource(source, get_lab(client, source).document)


def name_of(source: str) -> str:
    """Of a lab that is meant, without asking the platform."""
    return read_file(source).document.name if is_file(source) else source


def get_lab(client: Client, name: str) -> LabView:
    return read(list[LabView], client.call("nodes", "get_labs", name=name))[0]


def _label(source: str) -> str:
    return STANDARD_INPUT_LABEL if source == STANDARD_INPUT else source


def _parsed(source: str, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(_bytes_of(source))
    except FileFaults as faults:
        raise InvalidRequest(*_sentences(_label(source), faults.findings)) from None


def _bytes_of(source: str) -> bytes:
    if source == STANDARD_INPUT:
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    try:
        with Path(source).open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFound(f"{source} cannot be read: {error.strerror}") from None


def _sentences(label: str, findings: Iterable[Finding]) -> list[str]:
    return [f"{label}:{one.position.line}:{one.position.column}: {one.sentence}" for one in findings]
