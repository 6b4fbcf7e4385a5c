"""docs/security.md claims nothing that no test tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_features import TEST, names_in

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The cells of each row, without the head."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]


ROWS = table("Surfaces")
FAULTS = table("Faults that were found")
ATTACKS = table("Attacks on it")
NUMBERS = [1, 2, 3, 4, 5, 7, 17, 18, 19, 25, 28, 29, 30, 32, 38, 44]
LIMITS = PAGE.partition("## What does not hold\n")[2]


def test_there_are_rows_and_none_is_lost():
    assert len(ROWS) > 25
    assert all(len(row) in (3, 4) for row in ROWS), "surface, who reaches it, what stops the others, the test"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])
def test_every_surface_is_tried_by_a_test_that_exists(row):
    tried(row[-1])


def test_every_fault_has_its_row():
    assert [int(row[0].partition(":")[0].removeprefix("S")) for row in FAULTS] == NUMBERS


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row[0].partition(":")[0])
def test_every_fault_is_closed_by_a_test_or_told_as_open(row):
    number, _, _ = row[0].partition(":")
    assert len(row) == 3 and row[1].startswith(("closed", "open"))
    if row[1] != "open":
        tried(row[2])
    assert ("open" in row[1]) == (f"({number})" in LIMITS), "what is open stands under 'What does not hold'"


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row[0][:50])
def test_what_an_attack_has_found_is_closed_by_a_test(row):
    assert len(row) == 3 and row[1].startswith("closed")
    tried(row[2])


def tried(proofs_cell: str) -> None:
    proofs = TEST.findall(proofs_cell)
    assert proofs, proofs_cell
    assert len(proofs) == proofs_cell.count("::"), "each is written as `tests/…py::test_…`"
    for path, name in proofs:
        assert name in names_in(path), f"{path} has no {name}"
