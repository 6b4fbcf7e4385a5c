"""The tutorial of the documentation, typed from its first command to its last."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
COMMANDS = [
    shlex.split(line) for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
ROUND_TRIP = re.compile(r"min/avg/max(?:/mdev)? = [\d.]+/([\d.]+)/")


@pytest.fixture
def typed(walt, tmp_path):
    """[(words, what it printed)] of all commands; "." is a folder of the test."""
    here = {".": str(tmp_path)}
    try:
        yield [
            (words, walt(*(here.get(one, one) for one in words), timeout=300).stdout)
            for program, *words in COMMANDS
            if program == "walt"
        ]
    finally:
        walt("node", "remove", "vnode1,vnode2", "--force", check=False)


def test_it_works_as_it_stands_there(typed, tmp_path):
    assert len(typed) == len(COMMANDS) > 10
    before, after = (float(ROUND_TRIP.findall(printed)[0]) for words, printed in typed if "ping" in words)
    assert before >= 19 and after >= 59, f"asked 20 ms and 60 ms; measured {before} and {after}"
    assert "ens3" in (tmp_path / "counters.txt").read_text()
