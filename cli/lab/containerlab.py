"""A containerlab file as a lab: nodes, links, and what netem does on them; what has no counterpart is told. Pure but
for reading YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from walt.contracts import lab_check, links, names, units
from walt.contracts.errors import InvalidRequest
from walt.contracts.labs import LabDocument, LabLink, LabNetwork, LabNode, LabPort

from .shapes import member
from .yaml_tree import FileFaults, Finding, ListTree, MapTree, Scalar, Tree, parse

HOSTS = ("host", "mgmt-net", "macvlan", "vxlan", "vxlan-stitch", "dummy")  # endpoints that are no nodes
MEMORY = re.compile(r"([0-9]+)\s*(M|G|Mb|Gb|MB|GB|MiB|GiB)", re.ASCII)
NETEM = {"delay": "lat", "jitter": "jitter", "loss": "loss", "corruption": "corrupt", "rate": "bw"}


@dataclass
class Conversion:
    """left_out: sentences with their positions."""

    document: LabDocument
    left_out: list[Finding] = field(default_factory=list)


def convert(data: bytes) -> Conversion:
    """FileFaults for what is no containerlab file."""
    return _Converter().convert(parse(data))


class _Converter:
    def __init__(self) -> None:
        self._left_out: list[Finding] = []

    def convert(self, root: Tree) -> Conversion:
        topology = member(root, "topology")
        nodes = member(topology, "nodes") if topology else None
        if not isinstance(nodes, MapTree):
            raise FileFaults(Finding(root.position, "this is no containerlab file; allowed: one with topology: nodes"))
        self._leave(root, ("name", "topology"), "")
        self._leave(topology, ("nodes", "links"), "topology.")
        name = member(root, "name")
        found = list(self._nodes(nodes))
        networks, lines = self._links(member(topology, "links"), {node.name for node in found})
        document = LabDocument(self._name(name), tuple(found), tuple(networks), tuple(lines))
        self._left_out += [Finding(root.position, fault.sentence) for fault in lab_check.check(document).faults]
        return Conversion(document, self._left_out)

    def _name(self, tree: Tree | None) -> str:
        text = tree.text if isinstance(tree, Scalar) else None
        short = (text or "lab")[: names.MAX_LAB_NAME]
        if text and (short != text or not names.is_lab_name(text)):
            self._say(tree, f"'{text}' is too long or not a name of a lab here")
        return short if names.is_lab_name(short) else "lab"

    def _nodes(self, nodes: MapTree) -> Iterator[LabNode]:
        for key, value in nodes.items:
            try:
                name = names.check_node_name(key.text or "")
            except InvalidRequest:
                self._say(key, f"node '{key.text}': its name is none here")
                continue
            settings = list(self._settings(value)) if isinstance(value, MapTree) else []
            yield LabNode(name, settings=tuple(settings))

    def _settings(self, node: MapTree) -> Iterator[str]:
        for key, value in node.items:
            text = value.text or "" if isinstance(value, Scalar) else ""
            memory = MEMORY.fullmatch(text)
            if key.text == "cpu" and text.isdigit():
                yield f"cpu.cores={text}"
            elif key.text == "memory" and memory:
                yield f"ram={memory[1]}{memory[2][0]}"
            else:
                self._say(key, f"'{key.text}' of a node")

    def _links(self, tree: Tree | None, nodes: set[str]) -> tuple[list[LabNetwork], list[LabLink]]:
        """Further links between the same two nodes become networks."""
        networks, lines, seen = list[LabNetwork](), list[LabLink](), dict[frozenset[str], int]()
        for item in tree.items if isinstance(tree, ListTree) else ():
            ends = self._ends(member(item, "endpoints"), nodes)
            if len(ends) != 2 or ends[0] == ends[1]:
                self._say(item, "a link that does not join two nodes of the file")
                continue
            self._leave(item, ("endpoints", "netem"), "a link's ")
            options = tuple(self._netem(member(item, "netem")))
            ports = tuple(LabPort(end, options) for end in ends)
            pair = frozenset(ends)
            seen[pair] = seen.get(pair, 0) + 1
            if seen[pair] == 1:
                lines.append(LabLink(ports))
            else:
                networks.append(LabNetwork(f"link{len(networks) + 1}", ports))
        return networks, lines

    def _ends(self, tree: Tree | None, nodes: set[str]) -> list[str]:
        """Of ["a:eth1", "b:e1-1"]; interfaces are numbered here in the order of the links."""
        texts = [one.text or "" for one in tree.items if isinstance(one, Scalar)] if isinstance(tree, ListTree) else []
        found = [text.partition(":")[0].lower() for text in texts]
        return [name for name in found if name in nodes and name not in HOSTS]

    def _netem(self, tree: Tree | None) -> Iterator[str]:
        for key, value in tree.items if isinstance(tree, MapTree) else ():
            option = NETEM.get(key.text or "")
            text = (value.text or "") if isinstance(value, Scalar) else ""
            if key.text == "rate" and text.isdigit():
                text = f"{text}kbps"  # kbit/s, as its netem has them
            elif option in ("loss", "corrupt") and not text.endswith("%"):
                text = f"{text}%"
            try:
                links.parse_change([f"{option}={text}"])
            except units.Faults:
                self._say(key, f"'{key.text}' of netem")
            else:
                yield f"{option}={text}"

    def _leave(self, tree: Tree | None, known: tuple[str, ...], where: str) -> None:
        for key, _ in tree.items if isinstance(tree, MapTree) else ():
            if key.text not in known:
                self._say(key, f"'{where}{key.text}'")

    def _say(self, tree: Tree | None, what: str) -> None:
        if tree is not None:
            self._left_out.append(Finding(tree.position, f"{what} is left out"))
