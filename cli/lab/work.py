"""What a lab puts into its nodes once they are booted: its `files`, then its `run` commands.

Once for each boot of a node, and again when the lab says something else or a file has changed: a mark in the node
tells.
Who is interrupted, or meets a command that fails, goes on with the next `walt lab apply`.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from walt.client import Client
from walt.contracts.errors import Failed, NotFound
from walt.contracts.labs import LabDocument, LabFault, LabNode
from walt.contracts.nodes import NodeView

from ..transfer import node_copy
from ..transfer.copy_request import CopyPath, CopyRequest
from ..ui.messages import print_message
from .node_scripts import run_all, run_shown

MARK = "/run/walt-lab"
BOOT = "/proc/sys/kernel/random/boot_id"


class ExactPath(CopyPath):
    """Its copy has the name of the target, be there a directory of that name already: then it goes over it."""

    @property
    def name(self) -> str:
        return ""


def missing_files(document: LabDocument, folder: Path) -> list[LabFault]:
    """What is not on this computer, known before anything is changed."""
    return [
        LabFault(
            ("nodes", node.name, "files", file.source),
            NotFound.__name__,
            f"there is no file '{folder / file.source}' on this computer",
        )
        for node in document.nodes
        for file in node.files
        if not os.path.lexists(folder / file.source)
    ]


class Preparation:
    """Of the nodes of a lab, some after the others. folder: where relative paths of files begin."""

    def __init__(self, client: Client, document: LabDocument, folder: Path) -> None:
        self._client = client
        self._wanted = {node.name.lower(): node for node in document.nodes if node.files or node.run}
        self._folder = folder
        self._failed: list[str] = []
        self._prepared: list[str] = []

    def prepare(self, nodes: Sequence[NodeView]) -> None:
        """nodes: booted ones; into some of them nothing may go."""
        todo = [(node, self._wanted[node.name]) for node in nodes if node.name in self._wanted]
        digests = {node.name: digest(asked, self._folder) for node, asked in todo}
        marks = run_all(self._client, [(node, _read_mark(digests[node.name])) for node, _ in todo])
        missing = [pair for pair, mark in zip(todo, marks, strict=True) if mark.status]
        for node, asked in missing:
            self._copy(node, asked)
        scripts = [(node, script(asked, digests[node.name])) for node, asked in missing]
        for (node, _), status in zip(scripts, run_shown(self._client, scripts), strict=True):
            (self._failed if status else self._prepared).append(node.name)

    def finish(self) -> None:
        """Failed where a command has failed."""
        if self._failed:
            why = "not all of its commands were run; 'walt lab apply' tries again"
            raise Failed(*(f"{name}: {why}" for name in sorted(self._failed)))
        if self._prepared:
            print_message(f"{', '.join(sorted(self._prepared))}: prepared")

    def _copy(self, node: NodeView, asked: LabNode) -> None:
        for file in asked.files:
            kind = CopyPath if file.target.endswith("/") else ExactPath
            request = CopyRequest((kind("", str(self._folder / file.source)),), CopyPath(node.name, file.target))
            node_copy.run(self._client, request, [node])


def digest(node: LabNode, folder: Path) -> str:
    """Changes with what the lab says, and with sizes and times of the files."""
    words = [repr((node.files, node.run)), *(one for file in node.files for one in _stamps(folder / file.source))]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def script(node: LabNode, mark: str) -> str:
    """Each command in a shell of its own; the first that fails ends it, and is told."""
    steps = [f"step {shlex.quote(command)}" for command in node.run]
    fail = 'fail() { echo "exit status $1: $2" >&2; exit 1; }'
    step = 'step() { sh -c "$1" || fail $? "$1"; }'
    return "\n".join([fail, step, *steps, f'mkdir -p /run && echo "{mark} $(cat {BOOT})" > {MARK}'])


def _read_mark(mark: str) -> str:
    return f'[ "$(cat {MARK} 2>/dev/null)" = "{mark} $(cat {BOOT})" ]'


def _stamps(path: Path) -> Iterator[str]:
    for one in [path, *(sorted(path.rglob("*")) if path.is_dir() else ())]:
        if os.path.lexists(one):
            found = one.lstat()
            yield f"{one.relative_to(path.parent)} {found.st_mode} {found.st_size} {found.st_mtime_ns}"
