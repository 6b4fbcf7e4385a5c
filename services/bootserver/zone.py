"""The names that nodes have on walt-net: a hosts file, which dnsmasq follows (`dns.py`).

The file is the only record: a bootserver that starts reads back what it knew, until `nodes` answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from services.contracts.nodes import ABSENT, NodeWanted
from services.kit.files import write_atomically

FILE = "nodes"
SERVER = "server"


@dataclass(frozen=True)
class Entry:
    """version: of the wish that it stands for, so that a late message does not bring back a former name."""

    ip: str
    name: str
    node_id: int
    version: int


def render(server: str, entries: Iterable[Entry]) -> str:
    """hosts(5); the comment is ours. Pure."""
    nodes = [f"{one.ip} {one.name} # {one.node_id} {one.version}" for one in entries]
    return "\n".join([f"{server} {SERVER}", *nodes, ""])


def parse(text: str) -> dict[int, Entry]:
    """What `render` wrote, by node. Pure."""
    entries = {}
    for line in text.splitlines():
        names, mark, ours = line.partition(" # ")
        if mark:
            (ip, name), (node_id, version) = names.split(), map(int, ours.split())
            entries[node_id] = Entry(ip, name, node_id, version)
    return entries


class Zone:
    def __init__(self, folder: Path, server: str) -> None:
        self._path = folder / FILE
        self._server = server
        self._entries = parse(self._path.read_text()) if self._path.exists() else {}

    def put(self, node: NodeWanted) -> None:
        """The node's name as it is wanted now; none once it is to be removed."""
        known = self._entries.get(node.id)
        if known is not None and known.version > node.version:
            return
        if node.power == ABSENT:
            self.forget(node.id)
        elif known != _entry(node):
            self._entries[node.id] = _entry(node)
            self.write()

    def forget(self, node_id: int) -> None:
        if self._entries.pop(node_id, None) is not None:
            self.write()

    def names(self) -> dict[int, str]:
        return {node_id: entry.name for node_id, entry in self._entries.items()}

    def known(self) -> set[int]:
        return set(self._entries)

    def replace(self, nodes: Iterable[NodeWanted], before: set[int]) -> None:
        """These, and what was heard since `before` was known. Written in any case, should the file have been lost, or
        dnsmasq have missed a change."""
        there = {node.id: _entry(node) for node in nodes if node.power != ABSENT}
        newer = {
            node_id: entry
            for node_id, entry in self._entries.items()
            if (entry.version > there[node_id].version if node_id in there else node_id not in before)
        }
        self._entries = there | newer
        self.write()

    def write(self) -> None:
        write_atomically(self._path, render(self._server, self._entries.values()))


def _entry(node: NodeWanted) -> Entry:
    return Entry(node.ip, node.name, node.id, node.version)
