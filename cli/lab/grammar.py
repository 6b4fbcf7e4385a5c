"""From a lab file to its document: the keys of the file and the shapes of their values; what the words mean, the
contract checks (`walt.contracts.lab_check`), on both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from walt.contracts import lab_check, units
from walt.contracts.lab_check import MAX_NODES, Path
from walt.contracts.labs import LINK_SIGN, LabDocument, LabFault, LabLink, LabNetwork, LabNode, LabPort

from .yaml_tree import FileFaults, Finding, ListTree, MapTree, Position, Scalar, Tree, parse

KEYS = ("name", "nodes", "networks", "links", "defaults")
NETWORK_KEYS = ("nodes", "link", "external")
IMAGE = "image"
A_LINK = "NODE -- NODE, with blanks around --"

_RANGE = re.compile(r"([^\[\]]*)\[([0-9]{1,9})-([0-9]{1,9})\]([^\[\]]*)", re.ASCII)
_OPTION = re.compile(r"[^\s,]+")


@dataclass
class LabReading:
    """The document as far as it can be read, where its parts are, and what is wrong with the file."""

    document: LabDocument
    positions: dict[Path, Position] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def position(self, path: Path) -> Position:
        """Of what a fault is about, or of the nearest part around it."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, Position(1, 1))

    def located(self, faults: tuple[LabFault, ...]) -> list[Finding]:
        return [Finding(self.position(fault.path), fault.sentence) for fault in faults]

    def all_findings(self) -> list[Finding]:
        """Of file and contract, in the order of the file."""
        found = [*self.findings, *self.located(lab_check.check(self.document).faults)]
        return sorted(dict.fromkeys(found), key=lambda one: one.position)


def read(data: bytes) -> LabReading:
    """FileFaults where it is not YAML."""
    return _Reader().read(parse(data))


class _Reader:
    def __init__(self) -> None:
        self._positions: dict[Path, Position] = {}
        self._findings: list[Finding] = []

    def read(self, root: Tree) -> LabReading:
        if not isinstance(root, MapTree):
            raise FileFaults(Finding(root.position, f"{root.kind} is not a lab; allowed: keys {', '.join(KEYS)}"))
        top = self._keys(root, KEYS, "a lab")
        name = self._text(top["name"], ("name",)) if "name" in top else ""
        defaults = self._settings(top.get("defaults"), ("defaults",))
        document = LabDocument(
            name,
            tuple(self._nodes(top.get("nodes"), defaults)),
            tuple(self._networks(top.get("networks"))),
            tuple(self._links(top.get("links"))),
        )
        return LabReading(document, self._positions, self._findings)

    # -- parts of the file

    def _nodes(self, tree: Tree | None, defaults: dict[str, Scalar]) -> Iterator[LabNode]:
        for key, value in self._named(tree, ("nodes",), "a node"):
            names = self._expand(key)
            for name in names:
                path = ("nodes", name)
                self._positions[path] = key.position
                settings = {**defaults, **self._settings(value, path)}
                for setting, scalar in settings.items():
                    self._positions.setdefault((*path, setting), scalar.position)
                    self._positions[(*path, setting, scalar.text or "")] = scalar.position
                texts = tuple(f"{one}={scalar.text}" for one, scalar in settings.items() if one != IMAGE)
                yield LabNode(name, (settings[IMAGE].text or "") if IMAGE in settings else "", texts)

    def _settings(self, tree: Tree | None, path: Path) -> dict[str, Scalar]:
        """{setting: its text}; also the image, which is none."""
        if tree is None or tree == Scalar(tree.position, None):
            return {}
        if not isinstance(tree, MapTree):
            self._find(tree.position, f"{tree.kind} is not settings; allowed: {{ram: 1G, …}} (walt help settings)")
            return {}
        found = {}
        for key, value in self._unique(tree):
            self._positions[(*path, key.text or "")] = key.position
            if isinstance(value, Scalar) and value.text is not None:
                found[key.text or ""] = value
            else:
                what = value.kind if not isinstance(value, Scalar) else "nothing"
                sentence = f"{key.text}: {what} is not a value; allowed: a text as in walt node config"
                self._find(value.position, f"{sentence}; one with a comma in quotes")
        return found

    def _networks(self, tree: Tree | None) -> Iterator[LabNetwork]:
        if tree is None or self._is_nothing(tree):
            return
        if not isinstance(tree, MapTree):
            self._find(tree.position, f"{tree.kind} is not networks; allowed: {{home-net: [vnode1, vnode2], …}}")
            return
        for key, value in self._unique(tree):
            path = ("networks", key.text or "")
            self._positions[path] = key.position
            if isinstance(value, ListTree):
                yield LabNetwork(path[1], tuple(self._ports(value, path, ())))
            elif isinstance(value, MapTree):
                parts = self._keys(value, NETWORK_KEYS, "a network")
                options = self._options(parts["link"]) if "link" in parts else ()
                ports = tuple(self._ports(parts.get("nodes"), path, options))
                is_external = "external" in parts and self._flag(parts["external"])
                if not ports and not is_external:
                    self._find(key.position, f"{key.text}: there is no nodes; allowed: nodes: [vnode1, vnode2]")
                yield LabNetwork(path[1], ports, is_external)
            else:
                self._find(
                    value.position, f"{key.text}: {value.kind} is not a network; allowed: [vnode1, vnode2] or a map"
                )

    def _ports(self, tree: Tree | None, path: Path, options: tuple[Scalar, ...]) -> Iterator[LabPort]:
        for key, value in self._named(tree, path, "a node"):
            for name in self._expand(key):
                self._positions[(*path, name)] = key.position
                yield self._port(name, path, (*options, *self._options(value)))

    def _links(self, tree: Tree | None) -> Iterator[LabLink]:
        if tree is None or self._is_nothing(tree):
            return
        if not isinstance(tree, ListTree):
            self._find(tree.position, f"{tree.kind} is not a list of links; allowed: lines of - {A_LINK}")
            return
        for item in tree.items:
            if isinstance(item, Scalar) and item.text is not None:
                yield from self._link(item, None)
            elif isinstance(item, MapTree) and len(item.items) == 1:
                yield from self._link(*item.items[0])
            else:
                self._find(item.position, f"{item.kind} is not a link; allowed: {A_LINK}: lat=10ms")

    def _link(self, key: Scalar, value: Tree | None) -> Iterator[LabLink]:
        ends = [end.strip() for end in (key.text or "").split(LINK_SIGN)]
        if len(ends) != 2 or not all(ends):
            self._find(key.position, f"'{key.text}' is not a link; allowed: {A_LINK}")
            return
        options = self._end_options(ends, value)
        first, second = (self._expand(Scalar(key.position, end)) for end in ends)
        if len(first) > 1 and len(second) > 1:
            self._find(key.position, f"'{key.text}' has a range at both ends; allowed: at one of them")
            return
        for one in first:
            for other in second:
                path = ("links", f"{one}{LINK_SIGN}{other}")
                self._positions.setdefault(path, key.position)
                pairs = zip((one, other), options, strict=True)
                yield LabLink(tuple(self._port(name, path, given) for name, given in pairs))

    def _end_options(self, ends: list[str], value: Tree | None) -> list[tuple[Scalar, ...]]:
        """Those of each end: the same for both, or a map by end."""
        if not isinstance(value, MapTree):
            options = self._options(value)
            return [options, options]
        found: dict[str, tuple[Scalar, ...]] = {}
        for key, one in self._unique(value):
            if key.text not in ends:
                hint = units.nearest(key.text or "", ends)
                self._find(key.position, f"'{key.text}' is no end of this link{hint}; allowed: {' or '.join(ends)}")
            found[key.text or ""] = self._options(one)
        return [found.get(end, ()) for end in ends]

    def _port(self, name: str, path: Path, options: tuple[Scalar, ...]) -> LabPort:
        """Of options with the same name, the last counts: that of a node stands after that of its network."""
        by_name: dict[str, Scalar] = {}
        for option in options:
            self._positions.setdefault((*path, name), option.position)
            by_name[(option.text or "").partition("=")[0]] = option
            self._positions[(*path, name, option.text or "")] = option.position
        return LabPort(name, tuple(one.text or "" for one in by_name.values()))

    def _options(self, tree: Tree | None) -> tuple[Scalar, ...]:
        """'lat=10ms, loss=1%' -> one for each, each once."""
        if tree is None or self._is_nothing(tree):
            return ()
        if not isinstance(tree, Scalar):
            self._find(tree.position, f"{tree.kind} is not options of a link; allowed: lat=10ms,loss=1%")
            return ()
        line, column = tree.position
        found = tuple(
            Scalar(Position(line, column + match.start()), match[0]) for match in _OPTION.finditer(tree.text or "")
        )
        for name in units.doubled((one.text or "").partition("=")[0] for one in found):
            self._find(tree.position, f"{name} is given twice; allowed: each option once")
        return found

    # -- shapes

    def _named(self, tree: Tree | None, path: Path, what: str) -> Iterator[tuple[Scalar, Tree | None]]:
        """The items of a list of names, or of a map from names; the same for both."""
        if tree is None:
            return
        self._positions.setdefault(path, tree.position)
        if isinstance(tree, MapTree):
            yield from self._unique(tree)
        elif isinstance(tree, ListTree):
            for item in tree.items:
                if isinstance(item, Scalar) and item.text is not None:
                    yield item, None
                elif isinstance(item, MapTree) and len(item.items) == 1:
                    yield item.items[0]
                else:
                    self._find(item.position, f"{item.kind} is not the name of {what}; allowed: vnode1 or web[1-5]")
        elif not self._is_nothing(tree):
            self._find(tree.position, f"'{tree.text}' is not a list; allowed: [vnode1, vnode2], or a map of them")

    def _keys(self, tree: MapTree, allowed: tuple[str, ...], what: str) -> dict[str, Tree]:
        found = {}
        for key, value in self._unique(tree):
            word = key.text or ""
            if word in allowed:
                found[word] = value
            else:
                hint = units.nearest(word, allowed)
                self._find(key.position, f"'{word}' is not a key of {what}{hint}; allowed: {', '.join(allowed)}")
        return found

    def _unique(self, tree: MapTree) -> Iterator[tuple[Scalar, Tree]]:
        first: dict[str, Position] = {}
        for key, value in tree.items:
            word = key.text or ""
            if word in first:
                self._find(key.position, f"'{word}' is given twice (first in line {first[word].line}); allowed: once")
            else:
                first[word] = key.position
                yield key, value

    def _text(self, tree: Tree, path: Path) -> str:
        self._positions[path] = tree.position
        if isinstance(tree, Scalar) and tree.text is not None:
            return tree.text
        return ""

    def _flag(self, tree: Tree) -> bool:
        text = tree.text if isinstance(tree, Scalar) else None
        if text not in ("true", "false"):
            self._find(tree.position, f"external: {text or tree.kind} is not accepted; allowed: true or false")
        return text == "true"

    def _expand(self, key: Scalar) -> list[str]:
        """'web[1-3]' -> 'web1', …; a number with zeros before it keeps its width."""
        text = key.text or ""
        match = _RANGE.fullmatch(text)
        if match is None:
            return [text]
        low, high, width = int(match[2]), int(match[3]), len(match[2]) if match[2].startswith("0") else 0
        if not low <= high < low + MAX_NODES:
            self._find(key.position, f"'{text}' is not a range; allowed: web[1-5], upwards, at most {MAX_NODES} nodes")
            return [f"{match[1]}{match[2]}{match[4]}"]
        return [f"{match[1]}{number:0{width}d}{match[4]}" for number in range(low, high + 1)]

    def _is_nothing(self, tree: Tree) -> bool:
        return isinstance(tree, Scalar) and tree.text is None

    def _find(self, position: Position, sentence: str) -> None:
        self._findings.append(Finding(position, sentence))
