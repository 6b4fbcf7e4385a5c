"""What a test needs of the machine: it skips where that is missing, and fails where it is required, as in CI."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REQUIRED, require
from tests.system.conftest import PROGRAMS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("required", "ended"),
    [("", pytest.skip.Exception), ("dns,broker", pytest.fail.Exception), ("dnsd", pytest.skip.Exception)],
)
def test_what_is_missing(monkeypatch, required, ended):
    monkeypatch.setenv(REQUIRED, required)
    require("dns", True, "")
    with pytest.raises(ended, match="no dnsmasq"):
        require("dns", False, "no dnsmasq")


def calls(name: str) -> list[ast.Call]:
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "tests").rglob("*.py"))]
    found = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func) == name]


def test_ci_requires_all_that_tests_need_but_docker():
    """Docker's absence is told by .ci/run itself."""
    named = {call.args[0].value for call in calls("require") if isinstance(call.args[0], ast.Constant)}
    listed = re.search(rf"^export {REQUIRED}=(.*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert listed and set(listed[1].split(",")) == (named | set(PROGRAMS)) - {"docker"}


@pytest.mark.parametrize("way", ["pytest.skip", "pytest.mark.skipif", "pytest.mark.skip", "pytest.importorskip"])
def test_no_test_skips_in_another_way(way):
    assert len(calls(way)) == (way == "pytest.skip")  # in `require`
