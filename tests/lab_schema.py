"""`python -m tests.lab_schema`: write docs/lab.schema.json again, by which editors check and complete lab files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cli.lab import grammar
from walt.contracts import lab_events, names
from walt.contracts.lab_expect import HEAD_RULE
from walt.contracts.links import LINK_OPTIONS
from walt.contracts.settings import SETTINGS, NodeConfig, show_settings

SCHEMA = Path(__file__).parents[1] / "docs" / "lab.schema.json"
TEXT = ["string", "number", "boolean"]  # 2 and 1.5 are texts for `walt lab`, and numbers for others
OPTIONS = f"Options of a link: {', '.join(LINK_OPTIONS)}; for instance lat=10ms,loss=1%"


def schema() -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "walt lab",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "nodes"],
        "properties": {key: _TOP[key] for key in grammar.KEYS},
        "$defs": {
            "settings": _settings(),
            "node": {**_settings(_WORK), "type": ["object", "null"]},
            "options": {"type": ["string", "null"], "description": OPTIONS},
            "names": _names({"$ref": "#/$defs/options"}),
        },
    }


def _settings(more: dict[str, Any] | None = None) -> dict[str, Any]:
    defaults = show_settings(NodeConfig())
    properties = {
        name: {"type": TEXT, "description": f"{one.help}. {one.grammar}", "default": defaults[name]}
        for name, one in sorted(SETTINGS.items())
    }
    image = {"type": "string", "description": "The OS image that the node boots", "default": "default"}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {grammar.IMAGE: image, **properties, **(more or {})},
    }


def _names(of_each: dict[str, Any]) -> dict[str, Any]:
    """A list of names of nodes, or a map from them."""
    return {
        "anyOf": [
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "additionalProperties": of_each},
        ]
    }


_COMMANDS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_WORK = {
    grammar.FILES: {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "What is copied to the node after its boot: {setup.sh: /root/setup.sh}",
    },
    grammar.RUN: {**_COMMANDS, "description": "Commands that are run in the node after its boot"},
}
_NETWORK = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "nodes": {"$ref": "#/$defs/names"},
        "link": {"$ref": "#/$defs/options"},
        "subnet": {"type": "string", "description": "192.168.55.0/24: where its nodes get addresses from"},
        "external": {"type": "boolean", "description": "It is not the lab's: a network of yours that there is already"},
    },
}
_LINK_VALUE = {
    "anyOf": [{"$ref": "#/$defs/options"}, {"type": "object", "additionalProperties": {"$ref": "#/$defs/options"}}]
}
_TOP: dict[str, Any] = {
    "name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*$", "maxLength": names.MAX_LAB_NAME},
    "nodes": {
        **_names({"$ref": "#/$defs/node"}),
        "description": "Names, or a map from names to settings; web[1-5] stands for five nodes",
    },
    "networks": {
        "type": ["object", "null"],
        "additionalProperties": {"anyOf": [{"type": "array", "items": {"type": "string"}}, _NETWORK]},
    },
    "links": {
        "type": ["array", "null"],
        "description": "vnode1 -- vnode2: lat=10ms",
        "items": {
            "anyOf": [{"type": "string"}, {"type": "object", "maxProperties": 1, "additionalProperties": _LINK_VALUE}]
        },
    },
    "defaults": {"$ref": "#/$defs/settings"},
    "events": {
        "type": ["array", "null"],
        "description": lab_events.HEAD_RULE,
        "items": {"type": "object", "maxProperties": 1, "additionalProperties": {"$ref": "#/$defs/options"}},
    },
    "expect": {
        "type": ["array", "null"],
        "description": HEAD_RULE,
        "items": {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "maxProperties": 1, "additionalProperties": {"type": ["string", "boolean"]}},
            ]
        },
    },
}


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text())
