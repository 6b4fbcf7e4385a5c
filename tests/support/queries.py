"""What the rules and dashboards of deploy/ query."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

_STATE = re.compile(r'\{state="[a-z-]+"\}')
_COMPARISON = re.compile(r" (==|!=|>=|<=|>|<) [0-9.]+")


@dataclass(frozen=True)
class Query:
    """source: the rule, or the panel of a dashboard; expr: in PromQL, with Grafana's variables."""

    source: str
    expr: str

    def with_variables(self, **values: str) -> str:
        expr = self.expr
        for name, value in values.items():
            expr = expr.replace(f"${name}", value)
        return expr

    @property
    def without_comparisons(self) -> str:
        """What a rule compares: it has data also when all is well. A node is in one state, and has no series of the
        others."""
        return _STATE.sub("", _COMPARISON.sub("", self.expr))

    @property
    def metrics(self) -> set[str]:
        return set(re.findall(r"\b(?:walt|rabbitmq|process)_[a-z0-9_]+", self.expr))


def alerts() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def of_rules() -> list[Query]:
    return [Query(alert["alert"], alert["expr"]) for alert in alerts()]


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in DASHBOARDS}


def of_dashboards() -> list[Query]:
    return [query for name, board in dashboards().items() for query in _of_board(name, board)]


def _of_board(name: str, board: dict[str, Any]) -> Iterator[Query]:
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield Query(f"{name}: {panel['title']} ({target['refId']})", target["expr"])
    for variable in board["templating"]["list"]:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
        yield Query(f"{name}: variable {variable['name']}", f"count by ({label}) ({series})")
