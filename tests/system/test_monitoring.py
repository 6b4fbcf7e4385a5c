"""A real Prometheus scrapes the real services: every query of every rule and dashboard has data, with a node that is
booted, has a disk and sends over shaped links; and what it scrapes is what docs/monitoring.md lists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import network
from deploy.prometheus import scrape_config
from tests.conftest import require
from tests.support import queries
from tests.support.queries import Query
from tests.support.wait import wait_until
from tests.system.platform import CHECKOUT, Platform

NODE = "watched"
SETTINGS = ("boot.delay=0", "disks=16M", "networks=walt-net,slow[lat=5ms],narrow[bw=10Mbps]")
TALK = "for i in 3 4; do ip addr add 10.$i.0.1/24 dev ens$i; ping -c 8 -i 0.3 -w 3 10.$i.0.2 & done; wait"
PORT = 9090
LIMIT_S = 15
LIST = CHECKOUT / "docs" / "monitoring.md"
ROW = re.compile(r"^\| `(walt_\w+)` \| (.*?) \| (\w+) \| (.*) \|$", re.MULTILINE)

KSM = Path("/sys/kernel/mm/ksm/pages_sharing")
OF_KSM = {"walt_host_ksm_saved_pages", "walt_host_ksm_saved_bytes"}
NEVER_HERE = {"walt_users_cleared_total", "walt_tunnel_bytes_total", "walt_tunnel_frames_total"}  # it has one host
OF_CABLE = {"walt_cable_realtime", "walt_cable_overhead_seconds", "walt_port_measured_latency_seconds"}


class Prometheus:
    def __init__(self, address: str) -> None:
        self._api = f"http://{address}:{PORT}/api/v1/"

    def get(self, path: str, **words: str) -> Any:
        url = f"{self._api}{path}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=10) as page:
            return json.load(page)["data"]

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """The series that have a value."""
        return [one for one in self.get("query", query=expr)["result"] if one["value"][1] != "NaN"]

    def of_node(self, node: str) -> set[str]:
        """Metrics that have a series of this node."""
        return {one["metric"]["__name__"] for one in self.ask(f'{{__name__=~"walt_.*", node="{node}"}}')}

    def answers(self) -> bool:
        try:
            return bool(self.ask("up"))
        except OSError:
            return False


@pytest.fixture(scope="module")
def prometheus(platform: Platform) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    require("prometheus", program is not None, "prometheus is not installed")
    uplink = network.find(platform.instance)
    assert uplink is not None
    with tempfile.TemporaryDirectory(prefix="walt-prometheus-") as folder:
        config = Path(folder, "prometheus.yml")
        config.write_text(scrape_config.local_configuration(platform.instance, interval_s=1))
        address = f"--web.listen-address={uplink.inside}:{PORT}"
        words = [program, f"--config.file={config}", f"--storage.tsdb.path={folder}/data", address]
        with Path(folder, "log").open("wb") as log:
            running = subprocess.Popen([*platform.instance.enter, *map(str, words)], stdout=log, stderr=log)
        try:
            found = Prometheus(str(uplink.inside))
            wait_until(found.answers, 30, f"Prometheus answers: {Path(folder, 'log').read_text()[-2000:]}")
            yield found
        finally:
            running.terminate()
            running.wait(20)


@pytest.fixture(scope="module")
def node(prometheus: Prometheus, walt: Callable[..., Any]) -> Iterator[str]:
    """Booted under the eyes of Prometheus, and talking; removed, its series go."""
    walt("node", "create", NODE, *(word for setting in SETTINGS for word in ("-c", setting)))
    walt("node", "wait", NODE, timeout=240)
    walt("node", "run", NODE, "--", "sh", "-c", TALK, check=False)
    yield NODE
    walt("node", "remove", NODE, "--force")
    wait_until(lambda: not prometheus.of_node(NODE), 20, "the series of a removed node are gone")


@pytest.fixture(scope="module")
def absent(prometheus: Prometheus) -> set[str]:
    """Metrics that a host like this one cannot have, or that begin with something that no test of this module does."""
    has_cable = prometheus.ask('walt_link_backend{backend="cable"} == 1')
    return NEVER_HERE | (set() if KSM.exists() else OF_KSM) | (set() if has_cable else OF_CABLE)


def without_data(prometheus: Prometheus, exprs: dict[Query, str]) -> list[str]:
    """Those that have none within LIMIT_S."""
    left, end = dict(exprs), time.monotonic() + LIMIT_S
    while left and time.monotonic() < end:
        left = {query: expr for query, expr in left.items() if not prometheus.ask(expr)}
        time.sleep(0.5 if left else 0)
    return [f"{query.source}: {expr}" for query, expr in left.items()]


def test_every_query_of_every_dashboard_has_data(prometheus: Prometheus, node: str, absent: set[str]) -> None:
    asked = [query for query in queries.of_dashboards() if not query.metrics & absent]
    assert len(asked) > 40
    assert not without_data(prometheus, {one: one.with_variables(node=node, __rate_interval="15s") for one in asked})


def test_every_rule_compares_what_there_is(prometheus: Prometheus, node: str, absent: set[str]) -> None:
    asked = [query for query in queries.of_rules() if not query.metrics & absent]
    assert not without_data(prometheus, {one: one.without_comparisons for one in asked})
    assert not without_data(prometheus, {Query(one.source, name): name for one in asked for name in one.metrics})
    groups = prometheus.get("rules")["groups"]
    health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert health == dict.fromkeys((alert["alert"] for alert in queries.alerts()), "ok")


def test_the_series_of_a_renamed_node_move_on(prometheus: Prometheus, node: str, walt: Callable[..., Any]) -> None:
    had = prometheus.of_node(node)
    walt("node", "rename", node, "renamed")
    try:
        wait_until(lambda: (prometheus.of_node("renamed"), prometheus.of_node(node)) == (had, set()), 20, "moved on")
    finally:
        walt("node", "rename", "renamed", node)


def test_a_service_that_is_down_is_noticed(prometheus: Prometheus, platform: Platform) -> None:
    def pending() -> bool:
        return bool(prometheus.ask('ALERTS{alertname="ServiceDown", job="console"}'))

    assert not pending()
    platform.stop("console")
    try:
        wait_until(pending, 20, "the alert is pending")
    finally:
        platform.resume("console")
    wait_until(lambda: not pending(), 30, "the alert is over")


def test_the_list_of_metrics_is_that_of_the_services(prometheus: Prometheus, node: str, absent: set[str]) -> None:
    listed = {name: (labels, kind, text) for name, labels, kind, text in ROW.findall(LIST.read_text())}
    found = scraped(prometheus)
    fresh = "\n".join(f"| `{name}` | {' | '.join(row)} |" for name, row in sorted(found.items()))
    assert {name: row for name, row in listed.items() if name not in absent} == found, f"it should say:\n{fresh}"


def scraped(prometheus: Prometheus) -> dict[str, tuple[str, str, str]]:
    """{metric: (labels, type, help)} of our own metrics."""
    described = prometheus.get("metadata")
    found = {}
    for series in prometheus.get("series", **{"match[]": '{__name__=~"walt_.*"}'}):
        name = re.sub(r"_(bucket|sum|count)$", "", series["__name__"])
        labels = ", ".join(sorted(series.keys() - {"__name__", "job", "instance", "le"}))
        (about,) = described[re.sub(r"_(total|info)$", "", name)]
        found[name] = (labels, about["type"], about["help"])
    return found
