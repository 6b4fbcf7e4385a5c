"""The README's section on deployment, typed as it stands; then every service is restarted, killed and renewed under two
nodes that talk. The tests build on each other, in this order."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.services import METRICS_PORTS
from tests.compose import engine
from tests.compose.deployment import Deployment
from tests.conftest import require
from tests.support.wait import wait_until

SERVICES = (
    *("nodes", "bootserver", "vmrunner", "netemu", "console", "rabbitmq"),
    *("docker-images", "launcher", "persist", "dns", "resolver", "ntp", "prometheus", "grafana"),
)
RENEWED = SERVICES[:5]  # by a new version: built here
LASTING = ("world", "cable")
LINE = re.compile(rb"number (\d+) of the line\r?\n")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    found, why = engine.find()
    require("docker", not why, why)
    one = Deployment(tmp_path_factory.mktemp("deployment"), found)
    for image in engine.provide_images((one.checkout / "docker-compose.yml").read_text(), found):
        print(f"{image}: no registry has it here; a stand-in is used")
    one.run("docker compose build --quiet")  # those of an earlier run may be there, and of other sources
    try:
        yield one
    finally:
        one.remove()


@pytest.fixture(scope="module")
def viewer(deployment: Deployment) -> Iterator[Path]:
    """A user who looks at the console of vnode1 all the time; the file of what has come."""
    path = deployment.home / "viewer"
    argv = [deployment.home / "walt/bin/walt", "node", "console", "vnode1", "--read-only"]
    with path.open("wb") as file, path.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(argv, env=deployment.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=log)
        yield path
        process.send_signal(signal.SIGINT)
        process.wait(10)


def test_start(deployment: Deployment) -> None:
    deployment.follow("Start")
    deployment.wait_until_well()


def test_only_what_must_be_reached_is(deployment: Deployment) -> None:
    """Of all containers two have a port of the host, both on loopback; none is privileged, and most are not root."""
    containers = deployment.containers()
    ports = {name: one["HostConfig"]["PortBindings"] for name, one in containers.items()}
    bound = {name: {b["HostIp"] for all_ in found.values() for b in all_} for name, found in ports.items() if found}
    assert bound == {"rabbitmq": {"127.0.0.1"}, "grafana": {"127.0.0.1"}}
    assert not any(one["HostConfig"]["Privileged"] for one in containers.values())
    assert {name: one["HostConfig"]["CapDrop"] for name, one in containers.items()} == dict.fromkeys(
        containers, ["ALL"]
    )
    assert {name for name, one in containers.items() if one["Config"]["User"] not in ("", "root", "0")} >= {
        "world",
        "nodes",
        "console",
    }


def test_first_administrator(deployment: Deployment) -> None:
    deployment.follow("The `walt` command")
    assert (deployment.home / ".config/walt/client.toml").stat().st_mode & 0o777 == 0o600
    assert "admin" in deployment.walt("user", "list")


def test_the_experiment(deployment: Deployment) -> None:
    printed = deployment.follow("The experiment")
    assert " 0% packet loss" in printed
    found = re.search(r"(?:rtt|round-trip) min/avg/max\S* = ([\d.]+)/", printed)
    assert found, printed
    assert 18 <= float(found[1]) <= 30  # requested: 20 ms; the mean depends on what else this host does


def test_prometheus_reaches_every_service(deployment: Deployment) -> None:
    wait_until(lambda: _scraped(deployment) == dict.fromkeys(METRICS_PORTS, "1"), 40, lambda: str(_scraped(deployment)))


def test_nodes_and_links_outlive_services(deployment: Deployment, viewer: Path) -> None:
    """Restarted, killed, and of a new version: no machine ends, no ping is lost, and no byte of a console."""
    _start_talking(deployment)
    before = deployment.lifetimes(*LASTING)
    assert len(before) == len(LASTING) + 2
    for service in SERVICES:
        deployment.run(f"docker compose restart --timeout 5 {service}")
    deployment.wait_until_well()
    for service in SERVICES:
        deployment.run(f"docker compose kill {service}; docker compose start {service}")
    deployment.wait_until_well()
    former = deployment.lifetimes(*RENEWED)
    deployment.environment["WALT_VERSION"] = "next"
    (deployment.checkout / "deploy/prometheus/rules/next.yml").write_text("groups: [{name: next}]\n")
    deployment.follow("A new version")
    deployment.wait_until_well()
    assert "next" in {group["name"] for group in _prometheus(deployment, "rules")["groups"]}
    latter = deployment.lifetimes(*RENEWED)
    assert [name for name in RENEWED if former[name] == latter[name]] == []
    assert deployment.lifetimes(*LASTING) == before
    assert _loss(deployment) == "0%"
    _check_lines(deployment, viewer)


def test_tls_by_one_setting(deployment: Deployment) -> None:
    before = deployment.lifetimes(*LASTING)
    former = deployment.home / "former.toml"
    former.write_text((deployment.home / ".config/walt/client.toml").read_text())
    deployment.follow("For users of other hosts")
    config = (deployment.home / ".config/walt/client.toml").read_text()
    assert "amqps://" in config
    many = deployment.walt("node", "run", "vnode1", "--", "seq", "200000")  # more than one record of TLS at a time
    assert many.split() == [str(number) for number in range(1, 200_001)]
    assert "RabbitMQ" in deployment.walt("doctor", check=False)
    assert deployment.lifetimes(*LASTING) == before
    distrusting = deployment.home / "distrusting.toml"
    distrusting.write_text(config.partition("ca =")[0])
    for bad, message in ((distrusting, "certificate verify failed"), (former, "closed")):
        done = deployment.run(f"WALT_CONFIG={bad} walt node show 2>&1 || true")
        assert message in done


def test_nodes_come_back_with_their_disks(deployment: Deployment) -> None:
    """As after a restart of the host: no container is left, and what they kept is."""
    deployment.walt("node", "run", "vnode1", "--", "echo kept >/persist/note")
    deployment.run("docker compose down")
    assert not deployment.containers()
    deployment.run("docker compose up -d")
    read = ("node", "run", "vnode1", "--", "cat", "/persist/note")
    wait_until(lambda: deployment.walt(*read, check=False) == "kept\n", 120, lambda: deployment.walt("log", "show"))


def test_removed_without_a_trace(deployment: Deployment) -> None:
    deployment.follow("Remove")
    assert not deployment.containers()
    for kind in ("volume", "network"):
        assert not deployment.docker(
            kind, "ls", "-q", "--filter", f"label=com.docker.compose.project={deployment.name}"
        )


def _prometheus(deployment: Deployment, path: str) -> Any:
    address = f"http://127.0.0.1:9090/api/v1/{path}"
    return json.loads(deployment.run(f"docker compose exec -T prometheus wget -q -O - '{address}'"))["data"]


def _scraped(deployment: Deployment) -> dict[str, str]:
    """{job: 1, or 0 when it does not answer}"""
    return {one["metric"]["job"]: one["value"][1] for one in _prometheus(deployment, "query?query=up")["result"]}


def _start_talking(deployment: Deployment) -> None:
    in_background = "</dev/null >/dev/null 2>&1 &"
    line = 'i=0; while :; do i=$((i+1)); echo "number $i of the line" >/dev/ttyS0; sleep 0.1; done'
    deployment.walt("node", "run", "vnode1", "--", f"({line}) {in_background}")
    ping = "ping -i 0.2 192.168.55.2 >/tmp/ping 2>&1"
    deployment.walt("node", "run", "vnode2", "--", f"({ping}) {in_background}")


def _loss(deployment: Deployment) -> str:
    deployment.walt("node", "run", "vnode2", "--", "kill -INT $(pidof ping); sleep 1")
    output = deployment.walt("node", "run", "vnode2", "--", "tail", "-n", "3", "/tmp/ping")
    found = re.search(r"(\d+) packets transmitted, .* (\S+) packet loss", output)
    assert found, output
    assert int(found[1]) > 100
    return found[2]


def _check_lines(deployment: Deployment, viewer: Path) -> None:
    """The viewer, and the log, have every number once, up to one that is printed now."""
    deployment.walt("node", "run", "vnode1", "--", "echo the end >/dev/ttyS0")
    wait_until(lambda: b"the end" in viewer.read_bytes(), 60, lambda: viewer.with_suffix(".log").read_text())
    kept = deployment.walt("node", "console", "vnode1", "--log").encode()
    for content in (viewer.read_bytes(), kept):
        numbers = [int(number) for number in LINE.findall(content)]
        assert len(numbers) > 100
        assert numbers == list(range(1, numbers[-1] + 1))
