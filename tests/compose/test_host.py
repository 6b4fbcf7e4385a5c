"""A further host joins with one token, as docs/growing.md says it.

One engine plays both servers, and keeps the networks of its projects apart: the agents of the second are put into the
control network of the first, which is the wire to the broker here. The tunnels between the two are not tried: between
two servers they go through published ports, whose way back this engine does not have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose import engine
from tests.compose.deployment import Deployment
from tests.conftest import require
from tests.support.wait import wait_until

HOST = "lab2"
JOIN_S = 180
AGENTS = ("vmrunner", "netemu", "console")
WIRE = """
networks:
  control: !override
    name: {project}_control
    external: true
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The first server, with what a host that joins speaks to; its `walt` is that of this checkout."""
    found, why = engine.find()
    require("docker", not why, why)
    one = Deployment(tmp_path_factory.mktemp("server"), found)
    one.environment |= {"WALT_HOST": "lab1", "WALT_UNDERLAY": "127.0.0.2"}
    engine.provide_images((one.checkout / "docker-compose.yml").read_text(), found)
    files = "docker compose -f docker-compose.yml -f deploy/compose/hosts.yml"
    try:
        one.run(f"{files} config --quiet")
        one.run(f"{files} up -d --build --quiet-pull rabbitmq nodes netemu", limit_s=1200)
        _log_in(one)
        yield one
    finally:
        one.remove()


def _log_in(server: Deployment) -> None:
    """A client.toml with an address of the broker that is the same for this computer and for the second server."""
    containers = json.loads(server.run("docker inspect $(docker compose ps -q rabbitmq)"))
    (network,) = containers[0]["NetworkSettings"]["Networks"].values()
    text = server.run("docker compose run --rm --no-deps setup client admin 2>/dev/null", limit_s=180)
    path = server.home / "client.toml"
    path.write_text(text.replace(server.environment["WALT_AMQP_BIND"], f"{network['IPAddress']}:5671"))
    server.environment["WALT_CONFIG"] = str(path)


def walt(server: Deployment, *arguments: str) -> str:
    argv = [Path(sys.prefix) / "bin/walt", *arguments]
    return subprocess.run(argv, env=server.environment, capture_output=True, text=True, check=True).stdout


def hosts(server: Deployment) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(walt(server, "host", "list", "-o", "json"))}


@pytest.fixture(scope="module")
def second(server: Deployment) -> Iterator[dict[str, str]]:
    """The environment of the second server, as whose root one types there."""
    environment = {
        **server.environment,
        "COMPOSE_PROJECT_NAME": f"{server.name}-2",
        "WALT_HOST_TOKEN": walt(server, "host", "token", HOST).strip(),
        "WALT_UNDERLAY": "127.0.0.3",
    }
    (server.checkout / "wire.yml").write_text(WIRE.format(project=server.name))
    try:
        yield environment
    finally:
        compose(server, environment, "down", "-v", check=False)


def compose(server: Deployment, environment: dict[str, str], *words: str, check: bool = True) -> str:
    argv = ["docker", "compose", "-f", "deploy/compose/host.yml", "-f", "wire.yml", *words]
    done = subprocess.run(
        argv, cwd=server.checkout, env=environment, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0 or not check, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_the_file_stands_by_itself(server: Deployment, second: dict[str, str]) -> None:
    done = subprocess.run(
        ["docker", "compose", "-f", "deploy/compose/host.yml", "config", "--services"],
        cwd=server.checkout,
        env={**os.environ, **second},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == {"setup", "world", "cable", "launcher", "vm", *AGENTS}


def test_a_host_joins_with_one_token(server: Deployment, second: dict[str, str]) -> None:
    assert HOST not in hosts(server)
    compose(server, second, "up", "-d", "--build", "--quiet-pull")
    wait_until(lambda: (hosts(server).get(HOST) or {}).get("underlay"), JOIN_S, lambda: str(hosts(server)))
    row = hosts(server)[HOST]
    assert (row["state"], row["underlay"], row["is_server"]) == ("present", "127.0.0.3", False)
    assert row["capacity"]["ram_bytes"] > 0
    wait_until(lambda: _healthy(server, second) == dict.fromkeys(AGENTS, "healthy"), JOIN_S)


def test_a_later_up_needs_no_token(server: Deployment, second: dict[str, str]) -> None:
    compose(server, {**second, "WALT_HOST_TOKEN": ""}, "up", "-d", "--force-recreate", *AGENTS, "setup")
    wait_until(lambda: _healthy(server, second) == dict.fromkeys(AGENTS, "healthy"), JOIN_S)
    assert hosts(server)[HOST]["state"] == "present"


def test_a_host_that_is_removed_is_out(server: Deployment, second: dict[str, str]) -> None:
    walt(server, "host", "remove", HOST)
    assert HOST not in hosts(server)
    wait_until(lambda: "healthy" not in _healthy(server, second).values(), JOIN_S)
    assert HOST not in hosts(server)


def _healthy(server: Deployment, environment: dict[str, str]) -> dict[str, str]:
    rows = compose(server, environment, "ps", "--format", "json", *AGENTS).splitlines()
    return {row["Service"]: row["Health"] for row in map(json.loads, rows)}
