"""`.dockerignore`: what of a folder is no part of a build, by Docker's rules. Nothing of that is sent."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from services.contracts.errors import InvalidRequest

FILE = ".dockerignore"
ALWAYS = (FILE, "Dockerfile")  # the engine itself leaves them out of the build where a rule says so
_TOKEN = re.compile(r"(\*\*/?)(?=.)|\*\*|\*|\?|\[(\^?)((?:\\.|[^\]\\])+)\]|\\(.)|.", re.DOTALL)
_SET_OPERATORS, _ESCAPED = re.compile(r"[\[&~|]"), r"\\\g<0>"  # of Python, perhaps, one day
_WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True)
class Rule:
    """is_exception: what it names is part of the build, whatever rules before it said."""

    pattern: re.Pattern[str]
    is_exception: bool


def parse(text: str) -> list[Rule]:
    """Pure."""
    lines = (line.strip() for line in text.splitlines() if not line.startswith("#"))
    return [_rule(line) for line in lines if line.removeprefix("!").strip()]


def is_left_out(path: str, rules: list[Rule]) -> bool:
    """'src/a.o'. The last rule counts that names it or a folder that it lies in. Pure."""
    way = [path, *map(str, PurePosixPath(path).parents)][:-1]
    named = [rule for rule in rules if any(rule.pattern.fullmatch(one) for one in way)]
    return path not in ALWAYS and bool(named) and not named[-1].is_exception


def kept(folder: str) -> Iterator[str]:
    """The paths below the folder of all that is part of the build, each folder before what is in it."""
    try:
        with open(os.path.join(folder, FILE), encoding="utf-8-sig") as file:
            rules = parse(file.read())
    except FileNotFoundError:
        rules = []
    return _kept(folder, "", rules)


def _kept(folder: str, inside: str, rules: list[Rule]) -> Iterator[str]:
    for name in sorted(os.listdir(os.path.join(folder, inside))):
        path, whole = posixpath.join(inside, name), os.path.join(folder, inside, name)
        out = is_left_out(path, rules)
        if not out:
            yield path
        may_hold_some = not out or any(rule.is_exception for rule in rules)
        if may_hold_some and os.path.isdir(whole) and not os.path.islink(whole):
            yield from _kept(folder, path, rules)


def _rule(line: str) -> Rule:
    pattern = posixpath.normpath(line.removeprefix("!").strip()).lstrip("/")
    try:
        return Rule(re.compile(_TOKEN.sub(_expression, pattern), re.DOTALL), line.startswith("!"))
    except re.error as error:
        raise InvalidRequest(f"{FILE}: '{line}' is not a pattern: {error}") from None


def _expression(token: re.Match[str]) -> str:
    """Of one token of a pattern: those of Go's filepath.Match, and '**'."""
    folders, negation, characters, escaped = token.groups()
    if folders:
        return "(?:.*/)?"
    if characters:
        return f"[{negation}{_SET_OPERATORS.sub(_ESCAPED, characters)}]"
    return _WILD.get(token[0]) or re.escape(escaped or token[0])
