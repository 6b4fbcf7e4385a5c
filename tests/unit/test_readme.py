"""Every command that the README shows exists, with the options it is shown with."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from cli.tree import walt

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

DEPLOYMENT_PROGRAMS = ("docker", "install", "python3", "~/walt/bin/pip", "echo")  # run as they stand by tests/compose


def shown() -> list[str]:
    """The lines of its console blocks, and what the demo types."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    typed = re.findall(r"^\$ (walt .*)$", README, re.MULTILINE)
    return [*(line for block in blocks for line in block.splitlines() if line.strip()), *typed]


@pytest.mark.parametrize("line", shown())
def test_command_exists(line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == ".venv/bin/python":
        assert arguments[0] == "-m"
        assert importlib.util.find_spec(arguments[1]) is not None
    elif program not in DEPLOYMENT_PROGRAMS:
        assert program in ("walt", ".venv/bin/walt", "~/walt/bin/walt")
        command: click.Command = walt
        while isinstance(command, click.Group):
            command = command.commands[arguments.pop(0)]
        command.make_context("walt", arguments)


def test_targets_of_the_table_exist() -> None:
    targets = re.findall(r"^\| `make (\w+)`", README, re.MULTILINE)
    assert len(targets) >= 5
    assert set(targets) <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
