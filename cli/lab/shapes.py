"""Shapes of values in a lab file: lists and maps of names, texts, options; a fault for each that has another."""

from __future__ import annotations

import re
from collections.abc import Iterator

from walt.contracts import units
from walt.contracts.lab_check import MAX_NODES, Path

from .yaml_tree import Finding, ListTree, MapTree, Position, Scalar, Tree

_RANGE = re.compile(r"([^\[\]]*)\[([0-9]{1,9})-([0-9]{1,9})\]([^\[\]]*)", re.ASCII)
_OPTION = re.compile(r"[^\s,]+")


class Shapes:
    """Collects where the parts of the document are, and what is wrong with the file."""

    def __init__(self) -> None:
        self.positions: dict[Path, Position] = {}
        self.findings: list[Finding] = []

    def options(self, tree: Tree | None) -> tuple[Scalar, ...]:
        """'lat=10ms, loss=1%' -> one for each, each once."""
        if tree is None or self.is_nothing(tree):
            return ()
        if not isinstance(tree, Scalar):
            self.find(tree.position, f"{tree.kind} is not options of a link; allowed: lat=10ms,loss=1%")
            return ()
        line, column = tree.position
        found = tuple(
            Scalar(Position(line, column + match.start()), match[0]) for match in _OPTION.finditer(tree.text or "")
        )
        for name in units.doubled((one.text or "").partition("=")[0] for one in found):
            self.find(tree.position, f"{name} is given twice; allowed: each option once")
        return found

    def named(self, tree: Tree | None, path: Path, what: str) -> Iterator[tuple[Scalar, Tree | None]]:
        """The items of a list of names, or of a map from names; the same for both."""
        if tree is None:
            return
        self.positions.setdefault(path, tree.position)
        if isinstance(tree, MapTree):
            yield from self.unique(tree)
        elif isinstance(tree, ListTree):
            for item in tree.items:
                if isinstance(item, Scalar) and item.text is not None:
                    yield item, None
                elif isinstance(item, MapTree) and len(item.items) == 1:
                    yield item.items[0]
                else:
                    self.find(item.position, f"{item.kind} is not the name of {what}; allowed: vnode1 or web[1-5]")
        elif not self.is_nothing(tree):
            self.find(tree.position, f"'{tree.text}' is not a list; allowed: [vnode1, vnode2], or a map of them")

    def pairs(self, tree: Tree | None, what: str, example: str) -> Iterator[tuple[Scalar, Tree | None]]:
        """The items of a list of texts, each with what stands behind its colon."""
        if tree is None or self.is_nothing(tree):
            return
        for item in tree.items if isinstance(tree, ListTree) else (tree,):
            pair = item.items[0] if isinstance(item, MapTree) and len(item.items) == 1 else (item, None)
            if isinstance(tree, ListTree) and isinstance(pair[0], Scalar) and pair[0].text is not None:
                yield pair[0], pair[1]
            else:
                self.find(item.position, f"{item.kind} is not {what}; allowed: - {example}")

    def keys(self, tree: MapTree, allowed: tuple[str, ...], what: str) -> dict[str, Tree]:
        found = {}
        for key, value in self.unique(tree):
            word = key.text or ""
            if word in allowed:
                found[word] = value
            else:
                hint = units.nearest(word, allowed)
                self.find(key.position, f"'{word}' is not a key of {what}{hint}; allowed: {', '.join(allowed)}")
        return found

    def unique(self, tree: MapTree) -> Iterator[tuple[Scalar, Tree]]:
        first: dict[str, Position] = {}
        for key, value in tree.items:
            word = key.text or ""
            if word in first:
                self.find(key.position, f"'{word}' is given twice (first in line {first[word].line}); allowed: once")
            else:
                first[word] = key.position
                yield key, value

    def text(self, tree: Tree, path: Path) -> str:
        self.positions[path] = tree.position
        if isinstance(tree, Scalar) and tree.text is not None:
            return tree.text
        return ""

    def flag(self, tree: Tree) -> bool:
        text = tree.text if isinstance(tree, Scalar) else None
        if text not in ("true", "false"):
            self.find(tree.position, f"external: {text or tree.kind} is not accepted; allowed: true or false")
        return text == "true"

    def expand(self, key: Scalar) -> list[str]:
        """'web[1-3]' -> 'web1', …; a number with zeros before it keeps its width."""
        text = key.text or ""
        match = _RANGE.fullmatch(text)
        if match is None:
            return [text]
        low, high, width = int(match[2]), int(match[3]), len(match[2]) if match[2].startswith("0") else 0
        if not low <= high < low + MAX_NODES:
            self.find(key.position, f"'{text}' is not a range; allowed: web[1-5], upwards, at most {MAX_NODES} nodes")
            return [f"{match[1]}{match[2]}{match[4]}"]
        return [f"{match[1]}{number:0{width}d}{match[4]}" for number in range(low, high + 1)]

    def is_nothing(self, tree: Tree) -> bool:
        return isinstance(tree, Scalar) and tree.text is None

    def find(self, position: Position, sentence: str) -> None:
        self.findings.append(Finding(position, sentence))


def member(tree: Tree | None, key: str) -> Tree | None:
    """What a map has under this key."""
    pairs = tree.items if isinstance(tree, MapTree) else ()
    return next((value for name, value in pairs if name.text == key), None)
