"""A Docker Engine for the tests, and official images or what stands in for them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

TOOL = "WALT_DOCKER_ENGINE"  # a program that starts an engine where there is none: `start` prints what to export
OFFICIAL = re.compile(r"^ +image: ((?:rabbitmq|prom/prometheus|grafana/grafana):\S+)$", re.MULTILINE)
STANDINS = Path(__file__).parent / "standins"
PULL_LIMIT_S = 60


def find() -> tuple[dict[str, str], str]:
    """Variables that lead to an engine, or why there is none."""
    if answers({}):
        return {}, ""
    tool = os.environ.get(TOOL, "")
    if not tool or shutil.which(tool) is None:
        return {}, f"no Docker Engine answers, and {TOOL} names no program that starts one"
    done = subprocess.run([tool, "start"], capture_output=True, text=True, check=False)
    found = dict(word.split("=", 1) for word in done.stdout.split() if "=" in word)
    if done.returncode != 0 or not answers(found):
        return {}, f"{tool} start: no engine with compose answers: {done.stderr.strip()[-500:]}"
    return found, ""


def answers(environment: dict[str, str]) -> bool:
    """An engine, and `docker compose`."""
    if shutil.which("docker") is None:
        return False
    return all(
        subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, check=False).returncode == 0
        for argv in (["docker", "info"], ["docker", "compose", "version"])
    )


def provide_images(compose_file: str, environment: dict[str, str]) -> list[str]:
    """Every official image of the compose file is there; those that stand in for one are named."""
    env = {**os.environ, **environment}
    missing = [image for image in OFFICIAL.findall(compose_file) if not _run("image", "inspect", image, env=env)]
    standins = [image for image in missing if not _run("pull", "--quiet", image, env=env)]
    for image in standins:
        folder = STANDINS / image.rpartition("/")[2].partition(":")[0]
        subprocess.run(["docker", "build", "--quiet", "--tag", image, str(folder)], env=env, check=True)
    return standins


def _run(*arguments: str, env: dict[str, str]) -> bool:
    try:
        done = subprocess.run(["docker", *arguments], env=env, capture_output=True, timeout=PULL_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
