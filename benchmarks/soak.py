"""A platform in use: `python -m benchmarks.soak INSTANCE [HOURS]`, by default one hour; `make soak HOURS=n` starts and
ends one of its own. Best with a small image.

Rounds of what users do: nodes that are created, boot, are linked, renamed, rebooted, run commands, are watched on
their consoles, and are removed; images that are cloned, renamed and removed; pings, lists, logs. After the first rounds
the platform is left alone until nothing moves, and looked at; likewise at the end:

    memory (PSS), descriptors and green threads of each service     processes, interfaces and mounts
    queues and connections at the broker                            files in its folders

Each may have grown by 5 % at most, and the logs may say nothing that is not explained. The status is 1 otherwise.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks import growth
from benchmarks.idle import memory_mb, rows
from deploy.broker import rabbitmq
from deploy.local import accounts, network
from deploy.local.instance import Instance, Uplink
from deploy.local.programs import AS_RABBITMQ, broker_settings
from deploy.services import METRICS_PORTS, SERVICES

USER = "soak"
SETTINGS = ("-c", "boot.delay=0", "-c", "ram=128M", "-c", "cpu.cores=1", "-c", "networks=walt-net,home-net[lat=1ms]")
WARM_UP_ROUNDS = 3  # caches, first imports, the broker's first files
REST_S = 45.0  # reconciliations and expiries have passed
COMMAND_LIMIT_S = 300
TASKS = re.compile(r"^walt_tasks ([0-9.e+]+)$", re.MULTILINE)


class Person:
    """The user of the soak. failed: commands that did not end with 0."""

    def __init__(self, instance: Instance) -> None:
        self._environment = {**os.environ, "WALT_CONFIG": str(instance.clients / f"{USER}.toml")}
        self.commands = 0
        self.failed: list[str] = []

    def walt(self, *words: str) -> str:
        argv = [Path(sys.executable).with_name("walt"), *words]
        self.commands += 1
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            env=self._environment,
            check=False,
            timeout=COMMAND_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            self.failed.append(f"walt {' '.join(words)}: {done.returncode} {done.stderr.strip()}")
        return done.stdout

    def round(self, number: int) -> None:
        first, second, image = f"a{number}", f"b{number}", f"image{number}"
        self.walt("node", "create", first, second, *SETTINGS)
        self.walt("image", "clone", "default", image)
        self.walt("image", "rename", image, f"{image}x")
        self.walt("node", "wait", first, second)
        for delay in range(1, 6):
            self.walt("network", "link", first, "home-net", f"lat={delay}ms", "loss=1%")
        self.walt("network", "show", first)
        self.walt("node", "run", first, "--", "true")
        self.walt("node", "ping", first, "--count", "2")
        self.walt("node", "rename", second, f"{second}x")
        self.walt("node", "reboot", f"{second}x")
        self.walt("node", "wait", f"{second}x")
        self.walt("log", "show", first)
        self.walt("doctor")
        self.walt("image", "remove", f"{image}x")
        self.walt("node", "remove", first, f"{second}x", "--force")


class Platform:
    def __init__(self, instance: Instance, uplink: Uplink) -> None:
        self._instance, self._uplink = instance, uplink

    def look(self) -> dict[str, float]:
        seen: dict[str, float] = {}
        for program, pids in rows(self._instance).items():
            seen[f"memory of {program}, MB"] = sum(map(memory_mb, pids))
            seen[f"descriptors of {program}"] = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
        for service in SERVICES:
            seen[f"green threads of {service}"] = self._tasks(service)
        seen["processes"] = len(network.processes(self._instance))
        seen["interfaces"] = len(self._inside("ip", "-o", "link").splitlines())
        seen["mounts"] = len(Path("/proc/mounts").read_text().splitlines())
        for kind in ("queues", "connections", "bindings"):
            seen[kind] = len(json.loads(self._broker(f"list_{kind}")))
        for folder in (self._instance.state, self._instance.runtime, self._instance.user_images):
            seen[f"files in {folder}"] = self._files(folder)
        return seen

    def _tasks(self, service: str) -> float:
        with urllib.request.urlopen(f"http://{self._uplink.inside}:{METRICS_PORTS[service]}/metrics") as page:
            found = TASKS.search(page.read().decode())
        return float(found[1]) if found else 0.0

    def _inside(self, *argv: str) -> str:
        return subprocess.run([*self._instance.enter, *argv], check=True, capture_output=True, text=True).stdout

    def _broker(self, command: str) -> str:
        settings = broker_settings(self._instance, self._uplink)
        argv = [*self._instance.enter, *AS_RABBITMQ, rabbitmq.CONTROL, "--silent", command, "--formatter", "json"]
        environment = rabbitmq.environment(settings)
        return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout

    def _files(self, folder: Path) -> int:
        """Without those of the broker, which it writes anew as it likes."""
        own = self._instance.broker
        return sum(len(files) for path, _, files in os.walk(folder) if not Path(path).is_relative_to(own))

    def log_sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in sorted(self._instance.logs.glob("*.log"))}

    def new_lines(self, since: dict[Path, int]) -> list[str]:
        found = []
        for path in self.log_sizes():
            with path.open("rb") as file:
                file.seek(since.get(path, 0))
                found += [f"{path.stem}: {line}" for line in file.read().decode(errors="replace").splitlines()]
        return found


def main() -> int:
    instance = Instance(sys.argv[1])
    hours = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    uplink = network.find(instance)
    if uplink is None:
        raise SystemExit(f"instance {instance.name} is down; allowed: one that is up")
    accounts.provide(instance, uplink, USER, administrator=False)
    platform, person = Platform(instance, uplink), Person(instance)
    number = 0
    for number in range(WARM_UP_ROUNDS):
        person.round(number)
    time.sleep(REST_S)
    before, logs, started = platform.look(), platform.log_sizes(), time.monotonic()
    while time.monotonic() - started < 3600 * hours:
        number += 1
        person.round(number)
    time.sleep(REST_S)
    seen = growth.compared(before, platform.look())
    minutes = (time.monotonic() - started) / 60
    print(f"{minutes:.0f} minutes, {number - WARM_UP_ROUNDS + 1} rounds, {person.commands} commands; before and after:")
    print("\n".join(growth.table(seen)))
    odd = growth.unexplained(platform.new_lines(logs))
    for line, count in odd.most_common(20):
        print(f"{count:>6}  {line}")
    for what in person.failed[:20]:
        print(what)
    grown = [row for row in seen if row.is_too_much]
    print(
        f"{len(grown)} figures too large, {len(odd)} kinds of lines unexplained, {len(person.failed)} commands failed"
    )
    return int(bool(grown or odd or person.failed))


if __name__ == "__main__":
    sys.exit(main())
