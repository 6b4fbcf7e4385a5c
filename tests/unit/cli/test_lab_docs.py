"""The lab files and command lines of docs/labs.md, of the help and of examples/ are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.lab import grammar
from cli.topics import text_of
from tests.unit.cli.command_lines import check

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/labs.md").read_text()
EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("yaml"), ids=lambda text: text.split("\n")[0])
def test_file_of_the_page(text):
    assert grammar.read(text.encode()).all_findings() == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example(path):
    reading = grammar.read(path.read_bytes())
    assert reading.all_findings() == [] and reading.document.name == path.stem
    files = [file.source for node in reading.document.nodes for file in node.files]
    assert all((path.parent / file).exists() for file in files)
    assert f"`{path.name}`" in PAGE


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_command_of_an_example(path):
    lines = re.findall(r"^#     (walt .*?)(?:\s+#.*)?$", path.read_text(), re.MULTILINE)
    assert f"walt lab apply examples/{path.name} --wait" in lines
    for line in lines:
        check(line)


@pytest.mark.parametrize("line", [line for block in blocks("console") for line in block.splitlines()])
def test_command_of_the_page(line):
    check(line)


def test_all_keys_are_explained():
    for key in (*grammar.KEYS, *grammar.NETWORK_KEYS):
        assert f"`{key}`" in PAGE or f"{key}:" in PAGE, key


def test_file_of_the_help():
    lines = text_of("labs").splitlines()
    start = lines.index("  name: demo")
    text = "\n".join(line[2:] for line in lines[start : lines.index("", start)])
    more = lines.index("  networks:")
    text += "\n" + "\n".join(line[2:] for line in lines[more : lines.index("", more)])
    assert grammar.read(text.encode()).all_findings() == []
