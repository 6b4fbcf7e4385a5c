"""From a lab file to its document: the keys of the file and the shapes of their values; what the words mean, the
contract checks (`walt.contracts.lab_check`), on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from walt.contracts import lab_check, lab_events, lab_expect, port_addresses, units
from walt.contracts.lab_check import Path
from walt.contracts.labs import (
    LINK_SIGN,
    LabDocument,
    LabEvent,
    LabExpectation,
    LabFault,
    LabFile,
    LabLink,
    LabNetwork,
    LabNode,
    LabPort,
)

from .shapes import Shapes, member
from .yaml_tree import FileFaults, Finding, ListTree, MapTree, Position, Scalar, Tree, parse

KEYS = ("name", "nodes", "networks", "links", "defaults", "expect", "events")
NETWORK_KEYS = ("nodes", "link", "subnet", "external")
IMAGE, FILES, RUN = "image", "files", "run"
WORK = (FILES, RUN)
A_LINK = "NODE -- NODE, with blanks around --"


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


class _Reader(Shapes):
    def read(self, root: Tree) -> LabReading:
        if not isinstance(root, MapTree):
            raise FileFaults(Finding(root.position, f"{root.kind} is not a lab; allowed: keys {', '.join(KEYS)}"))
        top = self.keys(root, KEYS, "a lab")
        name = self.text(top["name"], ("name",)) if "name" in top else ""
        defaults = self._settings(top.get("defaults"), ("defaults",))
        document = LabDocument(
            name,
            tuple(self._nodes(top.get("nodes"), defaults)),
            tuple(self._networks(top.get("networks"))),
            tuple(self._links(top.get("links"))),
            tuple(self._expectations(top.get("expect"))),
            tuple(self._events(top.get("events"))),
        )
        return LabReading(document, self.positions, self.findings)

    # -- parts of the file

    def _nodes(self, tree: Tree | None, defaults: dict[str, Scalar]) -> Iterator[LabNode]:
        for key, value in self.named(tree, ("nodes",), "a node"):
            names = self.expand(key)
            for name in names:
                path = ("nodes", name)
                self.positions[path] = key.position
                settings = {**defaults, **self._settings(value, path)}
                files, run = tuple(self._files(value, path)), tuple(self._run(value, path))
                for setting, scalar in settings.items():
                    self.positions.setdefault((*path, setting), scalar.position)
                    self.positions[(*path, setting, scalar.text or "")] = scalar.position
                texts = tuple(f"{one}={scalar.text}" for one, scalar in settings.items() if one != IMAGE)
                image = (settings[IMAGE].text or "") if IMAGE in settings else ""
                yield LabNode(name, image, texts, files, run)

    def _settings(self, tree: Tree | None, path: Path) -> dict[str, Scalar]:
        """{setting: its text}; also the image, which is none."""
        if tree is None or tree == Scalar(tree.position, None):
            return {}
        if not isinstance(tree, MapTree):
            self.find(tree.position, f"{tree.kind} is not settings; allowed: {{ram: 1G, …}} (walt help settings)")
            return {}
        found = {}
        for key, value in self.unique(tree):
            self.positions[(*path, key.text or "")] = key.position
            if key.text in WORK:
                if path == ("defaults",):
                    self.find(key.position, f"'{key.text}' is not a default; allowed: settings and image")
            elif isinstance(value, Scalar) and value.text is not None:
                found[key.text or ""] = value
            else:
                sentence = f"{key.text}: {value.kind} is not a value; allowed: a text as in walt node config"
                self.find(value.position, f"{sentence}; one with a comma in quotes")
        return found

    def _files(self, tree: Tree | None, path: Path) -> Iterator[LabFile]:
        """{setup.sh: /root/setup.sh}"""
        files = member(tree, FILES)
        if isinstance(files, MapTree):
            for key, value in self.unique(files):
                self.positions[(*path, FILES, key.text or "")] = value.position
                if isinstance(value, Scalar) and value.text is not None:
                    yield LabFile(key.text or "", value.text)
                else:
                    self.find(value.position, f"{key.text}: {value.kind} is not a place in the node; allowed: /root/x")
        elif files is not None:
            self.find(files.position, f"{files.kind} is not files; allowed: {{setup.sh: /root/setup.sh}}")

    def _run(self, tree: Tree | None, path: Path) -> Iterator[str]:
        """A command, or a list of them."""
        run = member(tree, RUN)
        for one in run.items if isinstance(run, ListTree) else (() if run is None else (run,)):
            if isinstance(one, Scalar) and one.text is not None:
                self.positions[(*path, RUN, one.text)] = one.position
                yield one.text
            else:
                self.find(one.position, f"{one.kind} is not a command; allowed: a text, or a list of them")

    def _events(self, tree: Tree | None) -> Iterator[LabEvent]:
        for key, value in self.pairs(tree, "an event", "at 10s vnode1 -- vnode2: lat=80ms"):
            try:
                one = lab_events.parse_head(key.text or "")
            except units.Faults as found:
                self.find(key.position, found.args[0])
                continue
            options = self.options(value)
            self.positions.setdefault(("events", one.title), key.position)
            for option in options:
                self.positions[("events", one.title, option.text or "")] = option.position
            yield replace(one, options=tuple(option.text or "" for option in options))

    def _expectations(self, tree: Tree | None) -> Iterator[LabExpectation]:
        for key, value in self.pairs(tree, "an expectation", "rtt vnode1 vnode2: 20ms ± 2%"):
            yield from self._expectation(key, value)

    def _expectation(self, key: Scalar, value: Tree | None) -> Iterator[LabExpectation]:
        if isinstance(value, ListTree | MapTree):
            self.find(value.position, f"{value.kind} is not what is expected; allowed: a text (20ms ± 2%)")
            return
        try:
            one = lab_expect.parse_head(key.text or "")
        except units.Faults as found:
            for sentence in found.args:
                self.find(key.position, sentence)
            return
        one = replace(one, value=(value.text or "") if value else "")
        self.positions[("expect", one.title)] = key.position
        if value:
            self.positions[("expect", one.title, one.value)] = value.position
        yield one

    def _networks(self, tree: Tree | None) -> Iterator[LabNetwork]:
        if tree is None or self.is_nothing(tree):
            return
        if not isinstance(tree, MapTree):
            self.find(tree.position, f"{tree.kind} is not networks; allowed: {{home-net: [vnode1, vnode2], …}}")
            return
        for key, value in self.unique(tree):
            path = ("networks", key.text or "")
            self.positions[path] = key.position
            if isinstance(value, ListTree):
                yield LabNetwork(path[1], tuple(self._ports(value, path, ())))
            elif isinstance(value, MapTree):
                parts = self.keys(value, NETWORK_KEYS, "a network")
                options = (*self._subnet(parts.get("subnet")), *self.options(parts.get("link")))
                ports = tuple(self._ports(parts.get("nodes"), path, options))
                is_external = "external" in parts and self.flag(parts["external"])
                if not ports and not is_external:
                    self.find(key.position, f"{key.text}: there is no nodes; allowed: nodes: [vnode1, vnode2]")
                yield LabNetwork(path[1], ports, is_external)
            else:
                self.find(
                    value.position, f"{key.text}: {value.kind} is not a network; allowed: [vnode1, vnode2] or a map"
                )

    def _subnet(self, tree: Tree | None) -> Iterator[Scalar]:
        """'192.168.55.0/24' -> the option addr of each of its nodes."""
        if tree is None:
            return
        text = (tree.text or "") if isinstance(tree, Scalar) else ""
        try:
            if port_addresses.subnet_of(port_addresses.parse(text)) is None:
                raise ValueError
        except ValueError:
            self.find(tree.position, f"'{text or tree.kind}' is not a subnet; allowed: as 192.168.55.0/24 or fd01::/64")
        else:
            yield Scalar(tree.position, f"{port_addresses.OPTION}={text}")

    def _ports(self, tree: Tree | None, path: Path, options: tuple[Scalar, ...]) -> Iterator[LabPort]:
        for key, value in self.named(tree, path, "a node"):
            for name in self.expand(key):
                self.positions[(*path, name)] = key.position
                yield self._port(name, path, (*options, *self.options(value)))

    def _links(self, tree: Tree | None) -> Iterator[LabLink]:
        if tree is None or self.is_nothing(tree):
            return
        if not isinstance(tree, ListTree):
            self.find(tree.position, f"{tree.kind} is not a list of links; allowed: lines of - {A_LINK}")
            return
        for item in tree.items:
            if isinstance(item, Scalar) and item.text is not None:
                yield from self._link(item, None)
            elif isinstance(item, MapTree) and len(item.items) == 1:
                yield from self._link(*item.items[0])
            else:
                self.find(item.position, f"{item.kind} is not a link; allowed: {A_LINK}: lat=10ms")

    def _link(self, key: Scalar, value: Tree | None) -> Iterator[LabLink]:
        ends = [end.strip() for end in (key.text or "").split(LINK_SIGN)]
        if len(ends) != 2 or not all(ends):
            self.find(key.position, f"'{key.text}' is not a link; allowed: {A_LINK}")
            return
        options = self._end_options(ends, value)
        first, second = (self.expand(Scalar(key.position, end)) for end in ends)
        if len(first) > 1 and len(second) > 1:
            self.find(key.position, f"'{key.text}' has a range at both ends; allowed: at one of them")
            return
        for one in first:
            for other in second:
                path = ("links", f"{one}{LINK_SIGN}{other}")
                self.positions.setdefault(path, key.position)
                pairs = zip((one, other), options, strict=True)
                yield LabLink(tuple(self._port(name, path, given) for name, given in pairs))

    def _end_options(self, ends: list[str], value: Tree | None) -> list[tuple[Scalar, ...]]:
        """Those of each end: the same for both, or a map by end."""
        if not isinstance(value, MapTree):
            options = self.options(value)
            return [options, options]
        found: dict[str, tuple[Scalar, ...]] = {}
        for key, one in self.unique(value):
            if key.text not in ends:
                hint = units.nearest(key.text or "", ends)
                self.find(key.position, f"'{key.text}' is no end of this link{hint}; allowed: {' or '.join(ends)}")
            found[key.text or ""] = self.options(one)
        return [found.get(end, ()) for end in ends]

    def _port(self, name: str, path: Path, options: tuple[Scalar, ...]) -> LabPort:
        """Of options with the same name, the last counts: that of a node stands after that of its network."""
        by_name: dict[str, Scalar] = {}
        for option in options:
            self.positions.setdefault((*path, name), option.position)
            by_name[(option.text or "").partition("=")[0]] = option
            self.positions[(*path, name, option.text or "")] = option.position
        return LabPort(name, tuple(one.text or "" for one in by_name.values()))
