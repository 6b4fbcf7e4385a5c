"""Rules, dashboards and scrapes as files: sound, tested, and of one list of services."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.prometheus import scrape_config
from deploy.services import METRICS_PORTS, SERVICES
from tests.conftest import require
from tests.support import queries

ROOT = Path(__file__).parents[3]
RULE_TESTS = sorted((ROOT / "tests" / "monitoring").glob("*.test.yml"))
GRAFANA = ROOT / "deploy" / "grafana"


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    require("prometheus", found is not None, "promtool is not installed (Debian: prometheus)")
    return str(found)


def test_the_configuration_of_the_compose_file_is_fresh() -> None:
    assert (scrape_config.FOLDER / "prometheus.yml").read_text() == scrape_config.compose_configuration()


def test_every_service_and_the_broker_are_scraped() -> None:
    config = yaml.safe_load(scrape_config.configuration(lambda job: "h", "rules/*.yml"))
    assert {scrape["job_name"] for scrape in config["scrape_configs"]} == {*SERVICES, "rabbitmq"}


def test_the_compose_file_has_services_and_dashboards_where_they_are_looked_for() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for job in SERVICES:
        assert compose[job]["environment"]["WALT_METRICS_PORT"] == str(METRICS_PORTS[job])
        assert compose[job].get("network_mode", f"service:{job}") == f"service:{scrape_config.compose_host(job)}"
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/walt.yml").read_text())["providers"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in compose["grafana"]["volumes"]
    folders = {path.name for path in (GRAFANA / "provisioning").iterdir()}
    assert {f"./deploy/grafana/provisioning/{name}:/etc/grafana/provisioning/{name}:ro" for name in folders} < {
        *compose["grafana"]["volumes"]
    }
    assert "./deploy/prometheus:/etc/prometheus:ro" in compose["prometheus"]["volumes"]


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.name)
def test_rules(promtool: str, path: Path) -> None:
    done = subprocess.run([promtool, "test", "rules", path.name], cwd=path.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_configuration(promtool: str) -> None:
    config = str(scrape_config.FOLDER / "prometheus.yml")
    done = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_silent_and_then_firing() -> None:
    seen: dict[str, set[bool]] = {}
    for path in RULE_TESTS:
        for case in itertools.chain(*(test["alert_rule_test"] for test in yaml.safe_load(path.read_text())["tests"])):
            seen.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert seen == {alert["alert"]: {True, False} for alert in queries.alerts()}


def test_every_alert_says_what_and_what_follows() -> None:
    listed = (ROOT / "docs" / "monitoring.md").read_text()
    for alert in queries.alerts():
        assert alert["alert"] in listed
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        assert {"summary", "description"} == set(alert["annotations"]), alert["alert"]


@pytest.mark.parametrize(("name", "board"), queries.dashboards().items(), ids=lambda value: str(value)[:20])
def test_dashboard(name: str, board: dict) -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    panels = board["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [_cells(panel["gridPos"]) for panel in panels]
    assert len(set().union(*cells)) == sum(map(len, cells)), "panels overlap"
    assert all(x < 24 for x, _ in set().union(*cells))
    assert {link["url"] for link in board["links"]} <= {f"/d/{one['uid']}" for one in queries.dashboards().values()}


def _cells(position: dict[str, int]) -> set[tuple[int, int]]:
    return set(
        itertools.product(
            range(position["x"], position["x"] + position["w"]), range(position["y"], position["y"] + position["h"])
        )
    )
