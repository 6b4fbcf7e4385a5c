"""The traces that a lab document names and its owner has not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from services.nodes.domain import traces
from walt.contracts import network_uses, trace_names, units
from walt.contracts.errors import NotFound
from walt.contracts.lab_check import FaultList, Path
from walt.contracts.labs import LabDocument, LabFault, LabPort

OPTION = "trace"


def faults(document: LabDocument, known: Collection[str]) -> list[LabFault]:
    """Each with the path of the word that names it; known: names of the traces of the owner."""
    found = FaultList()
    for path, name in _named(document):
        if name not in known:
            found.add(path, traces.unknown(name, known), error=NotFound)
    return found.found


def _named(document: LabDocument) -> Iterator[tuple[Path, str]]:
    for network in document.networks:
        yield from _of_ports(("networks", network.name), network.ports)
    for link in document.links:
        yield from _of_ports(("links", link.name), link.ends)
    for node in document.nodes:
        for text in node.settings:
            setting, _, value = text.partition("=")
            if setting == "networks":
                yield from ((("nodes", node.name, setting, value), name) for name in _of_setting(value))


def _of_ports(path: Path, ports: Iterable[LabPort]) -> Iterator[tuple[Path, str]]:
    for port in ports:
        for option in port.options:
            word, _, name = option.partition("=")
            if word.partition(".")[0] == OPTION and name != trace_names.NO_TRACE and trace_names.is_name(name):
                yield (*path, port.node, option), name


def _of_setting(value: str) -> Iterable[str]:
    """None of a value that is at fault itself."""
    try:
        uses = network_uses.parse_networks(value)
    except units.Faults:
        return ()
    return dict.fromkeys(name for use in uses for name in traces.names_of(use.link))
