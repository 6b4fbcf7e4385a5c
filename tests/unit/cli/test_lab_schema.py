"""The published schema of lab files is that of the grammar, and takes what the grammar takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cli.lab import grammar
from tests.lab_schema import SCHEMA, schema, text
from walt.contracts.settings import SETTINGS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/labs.md").read_text()
RIGHT = [
    *re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL),
    *(path.read_text() for path in sorted((ROOT / "examples").glob("*.yml"))),
]
TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "boolean": bool, "null": type(None)}


def matches(rule, value):
    """The part of JSON schema that ours uses."""
    if "$ref" in rule:
        return matches(schema()["$defs"][rule["$ref"].rpartition("/")[2]], value)
    if "anyOf" in rule:
        return any(matches(one, value) for one in rule["anyOf"])
    types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    if not any(isinstance(value, TYPES[one]) for one in types):
        return False
    if isinstance(value, list):
        return all(matches(rule["items"], one) for one in value)
    if not isinstance(value, dict):
        return "pattern" not in rule or re.search(rule["pattern"], value) is not None
    known, other = rule.get("properties", {}), rule.get("additionalProperties")
    return (
        len(value) <= rule.get("maxProperties", len(value))
        and set(rule.get("required", ())) <= set(value)
        and all(
            matches(known[key], one) if key in known else bool(other) and matches(other, one)
            for key, one in value.items()
        )
    )


def test_it_is_fresh():
    assert SCHEMA.read_text() == text(), "python -m tests.lab_schema writes it again"


def test_it_has_all_keys():
    found = schema()
    assert set(found["properties"]) == set(grammar.KEYS)
    assert set(found["$defs"]["node"]["properties"]) == {grammar.IMAGE, grammar.HOST, *grammar.WORK, *SETTINGS}


@pytest.mark.parametrize("lab", RIGHT, ids=lambda lab: lab.strip().splitlines()[0])
def test_what_is_right_matches(lab):
    assert grammar.read(lab.encode()).all_findings() == []
    assert matches(schema(), yaml.safe_load(lab))


@pytest.mark.parametrize(
    "lab",
    [
        "[]",
        "{name: x}",
        "{name: x, nodes: [a], lnks: []}",
        "{name: x, nodes: {a: {rma: 1G}}}",
        "{name: 1x, nodes: [a]}",
    ],
)
def test_what_is_wrong_does_not(lab):
    assert not matches(schema(), yaml.safe_load(lab))
