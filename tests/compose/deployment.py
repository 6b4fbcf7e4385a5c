"""One deployment of a copy of this checkout, as the README says it, beside any other on this engine.

It builds its OS image itself, as at a first start: a cache filled by other tests would hide what its container lacks.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.support.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
SUBNET = "198.18.253.0/24"
READY_S = 120


class Deployment:
    def __init__(self, folder: Path, engine: dict[str, str]) -> None:
        self.name = f"walt-test{os.getpid() % 1_000_000}"
        self.checkout, self.home = folder / "checkout", folder / "home"
        self.home.mkdir(parents=True)
        _copy_checkout(self.checkout)
        docker_host = engine.get("DOCKER_HOST") or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self.environment = {
            **os.environ,
            **engine,
            "HOME": str(self.home),
            "PATH": f"{self.home}/walt/bin:{os.environ['PATH']}",
            "COMPOSE_PROJECT_NAME": self.name,
            "WALT_DOCKER_SOCKET": docker_host.removeprefix("unix://"),
            "WALT_AMQP_BIND": f"127.0.0.1:{_free_port()}",
            "WALT_GRAFANA_BIND": f"127.0.0.1:{_free_port()}",
            "WALT_CONTROL_SUBNET": SUBNET,
            "WALT_VERSION": "test",
            "WALT_PLATFORM_RECIPES": "default=small",
        }
        self.environment.pop("WALT_CONFIG", None)

    def follow(self, title: str) -> str:
        """Type the block of the README that follows this title; what it printed."""
        return self.run(block(title))

    def run(self, script: str, check: bool = True, limit_s: float = 600) -> str:
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def walt(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [self.home / "walt/bin/walt", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"walt {' '.join(arguments)}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def docker(self, *arguments: str) -> str:
        done = subprocess.run(["docker", *arguments], env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr[-2000:]}"
        return done.stdout

    def containers(self) -> dict[str, dict[str, Any]]:
        """{service, or the name of a virtual machine's container: what `docker inspect` says}."""
        services = self.run("docker compose ps --all --quiet").split()
        machines = self.docker("ps", "-aq", "--no-trunc", "--filter", f"label=walt.instance={self.name}").split()
        found = json.loads(self.docker("inspect", *services, *machines)) if services + machines else []
        # The machines have inherited the label of a service from their image.
        return {
            one["Name"] if one["Id"] in machines else one["Config"]["Labels"]["com.docker.compose.service"]: one
            for one in found
        }

    def lifetimes(self, *services: str) -> dict[str, tuple[str, str]]:
        """Of these services and of all virtual machines: another value means that it was ended in between."""
        return {
            name: (one["Id"], one["State"]["StartedAt"])
            for name, one in self.containers().items()
            if name in services or name.startswith("/")
        }

    def wait_until_well(self) -> None:
        """Every container runs, and is healthy where it says so."""
        wait_until(lambda: not self._unwell(), READY_S, lambda: f"not well: {self._unwell()}\n{self._logs()}")

    def _unwell(self) -> dict[str, str]:
        states = {name: one["State"] for name, one in self.containers().items()}
        return {
            name: state["Status"] + " " + state.get("Health", {}).get("Status", "")
            for name, state in states.items()
            if not (state["Status"] == "exited" and state["ExitCode"] == 0 and name in ("setup", "images"))
            and not (state["Status"] == "running" and state.get("Health", {}).get("Status", "healthy") == "healthy")
        }

    def _logs(self) -> str:
        return self.run("docker compose logs --no-color --tail 8", check=False)[-8000:]

    def remove(self) -> None:
        """Whatever a test has left of it."""
        self.run("docker compose kill; docker compose down -v --remove-orphans", check=False)
        for name in self.containers():
            if name.startswith("/"):
                self.docker("rm", "-f", name[1:])
        self.run(f"docker image rm {self.name}-cable {self.name}-vm", check=False)


def block(title: str) -> str:
    """The commands of the console block that follows **title** in the README's section on deployment."""
    section = (ROOT / "README.md").read_text().split("\n## Deployment\n")[1].split("\n## ")[0]
    found = re.search(rf"^\*\*{re.escape(title)}\*\*.*?^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found, f"the README's section on deployment has no commands under {title}"
    return found[1]


def _copy_checkout(target: Path) -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
