"""The names of nodes on walt-net: a hosts file that dnsmasq watches, and beside it the addresses that DHCP reserves for
physical nodes.

The hosts file is the only record: a bootserver that starts uses what it holds until `nodes` answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from services.bootserver.site import DOMAIN
from services.kit.files import write_atomically
from walt.contracts.nodes import ABSENT, NodeWanted
from walt.contracts.port_addresses import without_prefix

FILE = "nodes"
SERVER = "server"


@dataclass(frozen=True)
class ZoneEntry:
    """version: of the node's spec, so that a late message does not restore a former name. mac: of a physical node; ""
    for a virtual one, which does not use DHCP. others: (address, name) on networks of the node's owner."""

    ip: str
    name: str
    node_id: int
    version: int
    mac: str = ""
    others: tuple[tuple[str, str], ...] = ()


def render(server: str, entries: Iterable[ZoneEntry]) -> str:
    """A hosts(5) file, with id, version and MAC of each node in a comment, its other names behind it. Pure."""
    lines = [f"{server} {SERVER}"]
    for one in entries:
        lines.append(f"{one.ip} {one.name} # {one.node_id} {one.version} {one.mac}".rstrip())
        lines += [f"{address} {name} # {one.node_id}" for address, name in one.others]
    return "\n".join([*lines, ""])


def render_leases(entries: Iterable[ZoneEntry]) -> str:
    """A dhcp-hostsfile of dnsmasq(8). Pure."""
    return "".join(f"{one.mac},{one.ip}\n" for one in entries if one.mac)


def parse(text: str) -> dict[int, ZoneEntry]:
    """{node id: entry} from what `render` wrote. Pure."""
    entries: dict[int, ZoneEntry] = {}
    for line in text.splitlines():
        names, separator, comment = line.partition(" # ")
        if not separator:
            continue
        (ip, name), (node_id, *more) = names.split(), comment.split()
        if more:
            entries[int(node_id)] = ZoneEntry(ip, name, int(node_id), int(more[0]), "".join(more[1:]))
        else:
            before = entries[int(node_id)]
            entries[int(node_id)] = replace(before, others=(*before.others, (ip, name)))
    return entries


class Zone:
    """names, leases: folders."""

    def __init__(self, names: Path, leases: Path, server: str) -> None:
        self._path = names / FILE
        self._leases = leases / FILE
        self._server = server
        self._entries = parse(self._path.read_text()) if self._path.exists() else {}

    def put(self, spec: NodeWanted) -> None:
        """Takes over the node's name, or removes it when the node is to be removed."""
        known = self._entries.get(spec.id)
        if known is not None and known.version > spec.version:
            return
        if spec.power == ABSENT:
            self.forget(spec.id)
        elif known != _entry(spec):
            self._entries[spec.id] = _entry(spec)
            self.write()

    def forget(self, node_id: int) -> None:
        if self._entries.pop(node_id, None) is not None:
            self.write()

    def names(self) -> dict[int, str]:
        return {node_id: entry.name for node_id, entry in self._entries.items()}

    def known(self) -> dict[int, ZoneEntry]:
        """By node id."""
        return dict(self._entries)

    def replace(self, specs: Iterable[NodeWanted], before: Mapping[int, ZoneEntry]) -> None:
        """The entries of these specs, and what events have brought since `before` was known; what was known before
        gives way, also to lower versions, as a registry that was restored has. The files are written in any case: one
        may have been lost, or dnsmasq may have missed a change."""
        there = {spec.id: _entry(spec) for spec in specs if spec.power != ABSENT}
        newer = {
            node_id: entry
            for node_id, entry in self._entries.items()
            if before.get(node_id) != entry and (node_id not in there or entry.version > there[node_id].version)
        }
        self._entries = there | newer
        self.write()

    def write(self) -> None:
        write_atomically(self._path, render(self._server, self._entries.values()))
        leases = render_leases(self._entries.values())
        if (
            not self._leases.exists() or self._leases.read_text() != leases
        ):  # dnsmasq logs a warning for what it reads twice
            write_atomically(self._leases, leases)


def _entry(spec: NodeWanted) -> ZoneEntry:
    mac = "" if spec.is_virtual else spec.walt_net.mac
    others = [
        (without_prefix(address), f"{spec.name}.{interface.network.label}.{DOMAIN}")
        for interface in spec.interfaces
        for address in interface.addresses
    ]
    return ZoneEntry(spec.ip, spec.name, spec.id, spec.version, mac, tuple(others))
