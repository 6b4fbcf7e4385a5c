"""What users and nodes put into names, reasons and settings is shown, and controls no terminal."""

from __future__ import annotations

import json
import os
import re

import pytest

from cli.tree import run
from cli.ui import messages
from cli.ui.messages import Progress
from cli.ui.tables import FORMATS, as_json
from tests.unit.cli.fakes import FakeClient, node
from tests.unit.cli.test_network import port
from tests.unit.test_architecture import ROOT, name_of, sources
from walt.contracts.errors import Failed

CONTROLS = "\n\r\x1b[2J\x07\x7f\x85\x9b31m\u061c\u200b\u202e\u2028\u2029\u2066"
SHOWN = r"\n\r\x1b[2J\x07\x7f\x85\x9b31m\u061c\u200b\u202e\u2028\u2029\u2066"
TEXT = f"a{CONTROLS}b"
EVENT = {"id": 1, "at": 0.0, "node": TEXT, "owner": TEXT, "user": TEXT, "kind": TEXT, "text": TEXT}

# These print texts of walt itself, and the client.toml of the user.
OWN_TEXTS = {"cli/tree.py", "cli/commands/help.py", "cli/commands/completion.py", "cli/commands/user.py"}


def platform():
    texts = {"owner": TEXT, "reason": TEXT, "image": TEXT, "ip": TEXT, "host": TEXT, "type": TEXT}
    nodes = [node(name, **texts, config={"ram": TEXT, TEXT: TEXT}) for name in (TEXT, "b")]
    image = {"name": TEXT, "owner": TEXT, "created": 0.0, "size_bytes": 1, "kernel": TEXT}
    names = ("subject", "status", "found", "consequence", "fix")
    return FakeClient(
        get_nodes=nodes,
        get_notices=[EVENT],
        get_images=[image],
        diagnose=[dict.fromkeys(names, TEXT)],
        get_events=[EVENT],
        get_ports=[port(TEXT, TEXT, owner=TEXT, state=TEXT)],
        get_users=[{"name": TEXT, "administrator": True, "connected": True, "nodes": [TEXT]}],
    )


def unprintable(text):
    return {one for one in text if not one.isprintable()} - {"\n"}


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "line", ["node show", "node config a", "image show", "network show", "user list", "doctor", "log show"]
)
def test_no_output_controls_the_terminal(line, output_format, capsys):
    assert run([*line.split(), "-o", output_format], platform()) == 0
    out, err = capsys.readouterr()
    assert re.search(r"9[bB]31m", out)
    assert not unprintable(out + err)


def test_a_row_of_csv_is_one_line(capsys):
    run(["node", "show", "-o", "csv"], platform())
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_json_loses_nothing(capsys):
    run(["log", "show", "-o", "json"], platform())
    assert json.loads(capsys.readouterr().out) == [EVENT]


def test_json_keeps_letters_and_escapes_the_rest():
    assert as_json("é\x7f\x9b\u202e\U000e0001") == r'"é\u007f\u009b\u202e\udb40\udc01"'


def test_an_error_is_one_line(capsys):
    run(["user", "list"], FakeClient(get_users=Failed(TEXT)))
    assert capsys.readouterr().err == f"walt: a{SHOWN}b\n"


def test_progress_and_questions(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("click.confirm", lambda question, **_: asked.append(question))
    messages.ask(TEXT, default=False)
    assert asked == [f"a{SHOWN}b"]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.fileno", lambda: 2)
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((200, 50)))
    Progress().show(TEXT)
    assert capsys.readouterr().err == f"\r\x1b[Ka{SHOWN}b"


@pytest.mark.parametrize("path", sources("cli"), ids=name_of)
def test_nothing_is_printed_past_the_door(path):
    """It is `echo_data`, `print_message`, `ask` and `Progress` of cli/ui. Consoles pass on what their node sends."""
    if path.parent == ROOT / "cli" / "ui" or name_of(path) in OWN_TEXTS:
        return
    found = re.findall(
        r"(?:click\.(?:s?echo(?!\(coloured\()|confirm)|\bprint|std(?:out|err)\.write)\(", path.read_text()
    )
    assert not found
