"""requirements.lock: in parts, each of them all that its users need, nothing without a hash."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = (Path(__file__).parents[2] / "requirements.lock").read_text()
PINNED = re.compile(r"^(\S+)==(\S+) \\$", re.MULTILINE)
_, *_SPLIT = re.split(r"^# --- (.+)\n", LOCK, flags=re.MULTILINE)
PARTS = dict(zip(_SPLIT[::2], _SPLIT[1::2], strict=True))
PROJECT = "walt-vnodes"


def names(text: str) -> set[str]:
    return {canonicalize_name(name) for name, _ in PINNED.findall(text)}


def needed(package: str, extras: set[str]) -> set[str]:
    """What these extras of the package need, and what that needs in turn."""
    found: set[str] = set()
    left = [(package, extras)]
    while left:
        name, wanted = left.pop()
        for requirement in map(Requirement, requires(name) or ()):
            marker = requirement.marker
            key = canonicalize_name(requirement.name)
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *wanted}):
                if key not in found or requirement.extras:
                    left.append((key, requirement.extras))
                found.add(key)
    return found


def test_every_package_has_hashes() -> None:
    for entry in re.split(r"^(?=[^\s#])", LOCK, flags=re.MULTILINE)[1:]:
        assert PINNED.match(entry) and "--hash=sha256:" in entry, entry


def test_no_index_is_named() -> None:
    assert "://" not in LOCK


@pytest.mark.parametrize(
    ("part", "extras"),
    [("services and the command line", {"services"}), ("local mode", {"local"}), ("tests and tools", {"dev", "docs"})],
)
def test_each_part_is_complete_and_has_nothing_else(part: str, extras: set[str]) -> None:
    earlier = list(PARTS)[: list(PARTS).index(part)]
    inherited = {name for one in earlier for name in names(PARTS[one])}
    build = {"setuptools"} if part == "tests and tools" else set()
    assert names(PARTS[part]) == (needed(PROJECT, extras) | build) - inherited
