"""The dashboards against Grafana's own schema."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support import queries
from tests.support.grafana_schema import faults


@pytest.mark.parametrize(("name", "board"), queries.dashboards().items(), ids=lambda value: str(value)[:20])
def test_grafana_knows_every_field(name: str, board: dict[str, Any]) -> None:
    assert faults(board) == []


def test_an_unknown_field_and_wrong_values_are_found() -> None:
    board = next(iter(queries.dashboards().values()))
    first = board["panels"][0]
    first["transparrent"] = True
    first["gridPos"]["x"] = "left"
    first["targets"][0]["instant"] = "yes"
    board["graphTooltip"] = "sideways"
    assert set(faults(board)) == {
        "/panels/0/transparrent",
        "/panels/0/grid_pos/x",
        "/panels/0/targets/0/instant",
        "/graph_tooltip",
    }


def test_the_schema_is_of_the_version_that_is_deployed() -> None:
    compose = yaml.safe_load((queries.DEPLOY.parent / "docker-compose.yml").read_text())
    version = compose["services"]["grafana"]["image"].rpartition(":")[2]
    assert f"!{version} \\" in (queries.DEPLOY.parent / "requirements.lock").read_text()
