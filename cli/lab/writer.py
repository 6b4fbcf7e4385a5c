"""A lab document as the text of a lab file, which reads back to the same. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from walt.contracts.labs import LabDocument, LabLink, LabNetwork, LabNode, LabPort

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+/%-]*", re.ASCII)
_PLAIN_IN_BLOCK = re.compile(r"[A-Za-z0-9/](?:[A-Za-z0-9._=+/%,\[\]±-]| (?=[A-Za-z0-9._/±-]))*")
_NULLS = ("null", "Null", "NULL")


def text_of(document: LabDocument) -> str:
    return "".join(f"{line}\n" for line in _lines(document))


def _lines(document: LabDocument) -> Iterator[str]:
    yield f"name: {scalar(document.name)}"
    yield "nodes:"
    yield from (f"  {line}" for node in document.nodes for line in _node(node))
    if document.networks:
        yield "networks:"
        yield from (f"  {line}" for network in document.networks for line in _network(network))
    if document.links:
        yield "links:"
        for link in document.links:
            first, *more = _link(link)
            yield f"  - {first}"
            yield from (f"      {line}" for line in more)
    if document.expect:
        yield "expect:"
        for one in document.expect:
            yield f"  - {scalar(one.title)}" + (f": {scalar(one.value)}" if one.value else "")
    if document.events:
        yield "events:"
        for event in document.events:
            yield f"  - {scalar(event.title)}:{_value(event.options)}"


def scalar(text: str, in_flow: bool = False) -> str:
    """The text as YAML has it, in quotes where it must be; in_flow: inside of [ ] or { }."""
    plain = _PLAIN if in_flow else _PLAIN_IN_BLOCK
    return text if plain.fullmatch(text) and text not in _NULLS else json.dumps(text)


def _node(node: LabNode) -> Iterator[str]:
    settings = [text.partition("=")[::2] for text in node.settings]
    pairs = [*([("image", node.image)] if node.image else []), *settings]
    if not (node.files or node.run):
        shown = ", ".join(f"{scalar(key, True)}: {scalar(value, True)}" for key, value in pairs)
        yield f"{scalar(node.name)}:" + (f" {{{shown}}}" if shown else "")
        return
    yield f"{scalar(node.name)}:"
    yield from (f"  {scalar(key)}: {scalar(value)}" for key, value in pairs)
    if node.files:
        yield "  files:"
        yield from (f"    {scalar(file.source)}: {scalar(file.target)}" for file in node.files)
    if node.run:
        yield "  run:"
        yield from (f"    - {scalar(command)}" for command in node.run)


def _network(network: LabNetwork) -> Iterator[str]:
    common = common_options(network.ports)
    if common == () and not network.is_external:
        yield f"{scalar(network.name)}: {_list(port.node for port in network.ports)}"
        return
    yield f"{scalar(network.name)}:"
    if network.is_external:
        yield "  external: true"
    if common:
        yield f"  link: {_options(common)}"
    if common is not None:
        yield f"  nodes: {_list(port.node for port in network.ports)}"
    else:
        yield "  nodes:"
        yield from (f"    {scalar(port.node)}:{_value(port.options)}" for port in network.ports)


def _link(link: LabLink) -> Iterator[str]:
    common = common_options(link.ends)
    if common == ():
        yield link.name
    elif common:
        yield f"{link.name}: {_options(common)}"
    else:
        yield f"{link.name}:"
        yield from (f"{scalar(end.node)}:{_value(end.options)}" for end in link.ends)


def common_options(ports: Sequence[LabPort]) -> tuple[str, ...] | None:
    """The options of all these ports; None where they differ."""
    found = {port.options for port in ports}
    return found.pop() if len(found) == 1 else () if not found else None


def _list(names: Iterable[str]) -> str:
    return f"[{', '.join(scalar(name, True) for name in names)}]"


def _options(options: Sequence[str]) -> str:
    return scalar(",".join(options))


def _value(options: Sequence[str]) -> str:
    return f" {_options(options)}" if options else ""
