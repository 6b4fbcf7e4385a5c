"""docs/features.md claims nothing that no test proves; every fault of the original is accounted for."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "features.md").read_text()
ROW = re.compile(
    r"\| (?P<number>[BD]?\d+) \| (?P<what>[^|]+) \| (?P<status>have|not yet|does not apply) \|(?P<proof>[^|]*)\|"
)
TEST = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<name>\w+)`")


def rows(heading: str) -> list[re.Match[str]]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [match for match in map(ROW.fullmatch, section.splitlines()) if match]


@functools.cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def fault_tests() -> dict[int, set[str]]:
    """{number of the fault: tests that are named after it}."""
    found: dict[int, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in names_in(str(path.relative_to(ROOT))):
            if match := re.match(r"test_fault_(\d+)_", name):
                found.setdefault(int(match[1]), set()).add(f"{path.relative_to(ROOT)}::{name}")
    return found


FEATURES = rows("Features of such tools")
DEMANDS = rows("Demands of the users of such tools")
FAULTS = rows("Faults of the original")
FOUND_BY_USERS = rows("Faults that users of such tools run into")
ROWS = FEATURES + DEMANDS + FAULTS + FOUND_BY_USERS


def test_no_row_is_lost():
    assert len(ROWS) == len(re.findall(r"^\| [BD]?\d", PAGE, re.MULTILINE)) > 110


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['number']} {row['what']}")
def test_what_we_have_is_proved(row):
    proofs = TEST.findall(row["proof"])
    assert bool(proofs) == (row["status"] == "have")
    for path, name in proofs:
        assert name in names_in(path), f"{path} has no {name}"


def test_exactness_is_proved():
    proofs = TEST.findall((ROOT / "docs" / "exactness.md").read_text())
    assert len(proofs) > 15 and not [(path, name) for path, name in proofs if name not in names_in(path)]


def test_every_feature_demand_and_fault_is_accounted_for():
    assert [int(row["number"]) for row in FEATURES] == list(range(1, 55))
    assert [row["number"] for row in DEMANDS] == [f"D{number}" for number in range(1, 16)]
    assert [int(row["number"]) for row in FAULTS] == list(range(1, 39))


def test_tests_named_after_a_fault_are_listed():
    for row in FAULTS:
        listed = {f"{path}::{name}" for path, name in TEST.findall(row["proof"])}
        assert row["status"] != "have" or listed & fault_tests().get(int(row["number"]), set()), row["what"]


def test_tests_named_after_what_users_found_are_of_a_row():
    """B1 and so on; a test may be named after two."""
    known = {row["number"].lower() for row in FOUND_BY_USERS}
    named = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in names_in(str(path.relative_to(ROOT))):
            named |= set(re.findall(r"(?<=_)b\d+(?=_)", name)) if name.startswith("test_fault_b") else set()
    assert named <= known and len(known) == len(FOUND_BY_USERS)
