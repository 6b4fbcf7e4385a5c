"""The names that nodes have on walt-net: a hosts file, which dnsmasq follows (`dns.py`), and beside it the addresses that
DHCP keeps for physical nodes.

The hosts file is the only record: a bootserver that starts reads back what it knew, until `nodes` answers.
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
    """version: of the wish that it stands for, so that a late message does not bring back a former name. mac: of a
    physical node, "" of a virtual one, which does not ask for its address."""

    ip: str
    name: str
    node_id: int
    version: int
    mac: str = ""


def render(server: str, entries: Iterable[Entry]) -> str:
    """hosts(5); the comment is ours. Pure."""
    nodes = [f"{one.ip} {one.name} # {one.node_id} {one.version} {one.mac}".rstrip() for one in entries]
    return "\n".join([f"{server} {SERVER}", *nodes, ""])


def render_leases(entries: Iterable[Entry]) -> str:
    """dhcp-hostsfile of dnsmasq(8). Pure."""
    return "".join(f"{one.mac},{one.ip}\n" for one in entries if one.mac)


def parse(text: str) -> dict[int, Entry]:
    """What `render` wrote, by node. Pure."""
    entries = {}
    for line in text.splitlines():
        names, mark, ours = line.partition(" # ")
        if mark:
            (ip, name), (node_id, version, *mac) = names.split(), ours.split()
            entries[int(node_id)] = Entry(ip, name, int(node_id), int(version), *mac)
    return entries


class Zone:
    """names, leases: folders."""

    def __init__(self, names: Path, leases: Path, server: str) -> None:
        self._path = names / FILE
        self._leases = leases / FILE
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
        leases = render_leases(self._entries.values())
        if not self._leases.exists() or self._leases.read_text() != leases:  # dnsmasq complains of what it reads twice
            write_atomically(self._leases, leases)


def _entry(node: NodeWanted) -> Entry:
    mac = "" if node.is_virtual else node.walt_net.mac
    return Entry(node.ip, node.name, node.id, node.version, mac)
