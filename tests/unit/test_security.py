"""docs/security.md claims nothing that no test tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_features import TEST, names_in

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
SURFACES = PAGE.partition("## Surfaces\n")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in SURFACES.splitlines() if line.startswith("| ")][1:]


def test_there_are_rows_and_none_is_lost():
    assert len(ROWS) > 25
    assert all(len(row) in (3, 4) for row in ROWS), "surface, who reaches it, what stops the others, the test"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])
def test_every_surface_is_tried_by_a_test_that_exists(row):
    proofs = TEST.findall(row[-1])
    assert proofs, row[-1]
    assert len(proofs) == row[-1].count("::"), "each is written as `tests/…py::test_…`"
    for path, name in proofs:
        assert name in names_in(path), f"{path} has no {name}"
