"""YAML as a tree whose every part knows its position in the text; scalars are the texts as they were written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_FILE_BYTES = 2**20
MAX_DEPTH = 8  # of lists and maps in each other


class Position(NamedTuple):
    """Both count from 1, as editors do."""

    line: int
    column: int


class Finding(NamedTuple):
    """What is wrong, and where."""

    position: Position
    sentence: str


class FileFaults(Exception):
    """The text cannot be read at all."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(*findings)
        self.findings = findings


@dataclass(frozen=True)
class Scalar:
    """text: None for a value that is not there (`vnode1:`, null, ~)."""

    position: Position
    text: str | None

    @property
    def kind(self) -> str:
        return "nothing" if self.text is None else "a text"


@dataclass(frozen=True)
class ListTree:
    position: Position
    items: tuple[Tree, ...]

    kind = "a list"


@dataclass(frozen=True)
class MapTree:
    position: Position
    items: tuple[tuple[Scalar, Tree], ...]

    kind = "a map"


Tree = Scalar | ListTree | MapTree


def parse(data: bytes) -> Tree:
    """FileFaults for what is not YAML, or not a single document of it."""
    import yaml

    if len(data) > MAX_FILE_BYTES:
        raise _fault(1, 1, f"the file has {len(data)} bytes; allowed: at most {MAX_FILE_BYTES}")
    try:
        text = data.decode("utf-8-sig")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(errors="replace")
        raise _fault(
            *_end_of(before), f"byte {data[error.start]:#04x} is not UTF-8; allowed: a text in UTF-8"
        ) from None
    except yaml.reader.ReaderError as error:
        character = chr(error.character) if isinstance(error.character, int) else str(error.character)
        raise _fault(*_end_of(text[: error.position]), f"{character!r} is not a character of YAML") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _fault(mark.line + 1, mark.column + 1, _sentence(error)) from None
    except RecursionError:
        raise _fault(1, 1, "the file is nested too deeply to be a lab") from None
    if root is None:
        raise _fault(1, 1, "the file is empty; allowed: a lab, whose first line may be name: demo")
    return _tree(root, (), {})


def _tree(node: Any, parents: tuple[int, ...], done: dict[int, Tree]) -> Tree:
    """parents: ids of the nodes around it, as an alias may lead back to one of them; done: by id, as aliases may lead
    to one node many times."""
    import yaml

    if id(node) in done:
        return done[id(node)]
    position = _position(node)
    if isinstance(node, yaml.ScalarNode):
        is_null = node.tag == "tag:yaml.org,2002:null"
        quoted = Position(position.line, position.column + 1) if node.style in ("'", '"') else position
        return Scalar(quoted, None if is_null else node.value)
    if len(parents) >= MAX_DEPTH or id(node) in parents:
        raise FileFaults(Finding(position, "this is nested too deeply to be a part of a lab"))
    inside = (*parents, id(node))
    tree: Tree
    if isinstance(node, yaml.SequenceNode):
        tree = ListTree(position, tuple(_tree(one, inside, done) for one in node.value))
    else:
        tree = MapTree(position, tuple((_key(key), _tree(value, inside, done)) for key, value in node.value))
    done[id(node)] = tree
    return tree


def _position(node: Any) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _key(node: Any) -> Scalar:
    import yaml

    key = _tree(node, (), {}) if isinstance(node, yaml.ScalarNode) else None
    if isinstance(key, Scalar) and key.text is not None:
        return key
    raise FileFaults(
        Finding(_position(node), "this is not a key; allowed: a word (one with [ or { is written in quotes)")
    )


def _sentence(error: Any) -> str:
    """PyYAML's own words, with what helps."""
    problem = str(error.problem or error.context)
    if "'\\t'" in problem:
        problem += "; allowed: blanks, no tabs"
    elif "mapping values are not allowed" in problem:
        problem += "; two keys are on one line, or the line before is not finished"
    elif "another document" in problem:
        problem = "there is another document; allowed: one lab in a file"
    elif "<block end>" in problem:
        problem += "; the keys of one map begin in the same column"
    elif "end of stream" in problem and error.context_mark:
        problem += f"; the quote of line {error.context_mark.line + 1} is not closed"
    elif "expected ',' or" in problem and "flow" in str(error.context):
        problem += "; inside of [ ] and { }, a text with , [ ] { } is written in quotes"
    return f"this is not YAML: {problem}"


def _end_of(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _fault(line: int, column: int, sentence: str) -> FileFaults:
    return FileFaults(Finding(Position(line, column), sentence))
