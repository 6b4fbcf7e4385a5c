"""One rendering: the same rows as a table, json, yaml and csv."""

import csv
import dataclasses
import io
import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.commands.image import image_columns
from cli.commands.node import node_columns
from cli.tree import run
from cli.ui.tables import FORMATS, Column, echo, render
from tests.unit.cli.fakes import FakeClient, node
from walt.contracts.bootserver import ImageView
from walt.contracts.nodes import NodeView
from walt.contracts.printable import printable

COLUMNS = [Column("name"), Column("n", "number", lambda row: f"<{row['n']}>"), Column("more", wide=True)]
COLUMNS += [Column("why", sparse=True)]
ROWS: list[dict[str, Any]] = [
    {"name": "a", "n": 1, "more": {"k": "v"}, "why": ""},
    {"name": "b,c", "n": None, "more": [], "why": ""},
]

texts = st.text()
values = st.one_of(texts, st.integers(), st.booleans(), st.none(), st.dictionaries(texts, texts))
rows = st.lists(st.fixed_dictionaries({"name": texts, "value": values}))


def test_table_is_for_people():
    assert render(ROWS, COLUMNS, "table").splitlines() == ["name  number", "a     <1>", "b,c   <None>"]
    assert render(ROWS, COLUMNS, "wide").splitlines()[0] == "name  number  more"


def test_sparse_column_appears_with_its_first_value():
    assert render([*ROWS, {**ROWS[0], "why": "broken"}], COLUMNS, "table").splitlines()[3] == "a     <1>     broken"


def test_csv_has_all_columns_and_raw_values():
    assert render(ROWS, COLUMNS, "csv") == 'name,n,more,why\na,1,"{""k"": ""v""}",\n"b,c",,[],\n'


@given(rows)
def test_json_and_yaml_lose_nothing(some):
    assert json.loads(render(some, [Column("name")], "json")) == some
    assert yaml.safe_load(render(some, [Column("name")], "yaml")) == some


@given(rows)
def test_csv_shows_each_text(some):
    read = csv.DictReader(io.StringIO(render(some, [Column("name")], "csv"), newline=""))
    assert [row["name"] for row in read] == [printable(row["name"]) for row in some]


@pytest.mark.parametrize(
    ("output_format", "out", "err"),
    [
        ("table", "", "none\n"),
        ("wide", "", "none\n"),
        ("json", "[]\n", ""),
        ("yaml", "[]\n", ""),
        ("csv", "name\n", ""),
    ],
)
def test_nothing(output_format, out, err, capsys):
    echo([], [Column("name")], output_format, "none")
    assert tuple(capsys.readouterr()) == (out, err)


@pytest.mark.parametrize(
    ("view", "columns"), [(NodeView, node_columns(0, with_owner=True)), (ImageView, image_columns(0))]
)
def test_columns_have_all_that_the_service_says(view, columns):
    assert {column.name for column in columns} == {field.name for field in dataclasses.fields(view)}


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "line", ["node show", "node config a", "device show", "device config a", "image show", "doctor", "log show"]
)
def test_every_read_command_has_every_form(line, output_format, capsys):
    image = {"name": "default", "owner": "", "created": time.time(), "size_bytes": 1, "kernel": "6.1"}
    check = {"subject": "KVM", "status": "ok", "found": "works", "consequence": "", "fix": ""}
    client = FakeClient(
        get_nodes=[node("a")], get_notices=[], get_images=[image], diagnose=[check], get_events=[], get_ports=[]
    )
    assert run([*line.split(), "-o", output_format], client) == 0
    out = capsys.readouterr().out
    if output_format in ("json", "yaml"):
        assert yaml.safe_load(out) is not None


def test_settings_in_each_form(capsys):
    client = FakeClient(get_nodes=[node("a"), node("b")])
    run(["node", "config", "a,b", "-o", "csv"], client)
    head, a, _ = csv.reader(io.StringIO(capsys.readouterr().out))
    assert dict(zip(head, a, strict=True)) | {"node": "a", "ram": "512M", "boot.delay": ""} == dict(
        zip(head, a, strict=True)
    )
    run(["node", "config", "a,b", "-o", "yaml"], client)
    assert yaml.safe_load(capsys.readouterr().out)["b"] == {"ram": "512M", "cpu.cores": "4"}
