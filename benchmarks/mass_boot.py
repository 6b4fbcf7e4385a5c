"""Many nodes at once on one host: `python -m benchmarks.mass_boot [INSTANCE] [NODES]`.

On a running local platform, otherwise idle. One command creates NODES (default 24) nodes of default settings. A boot
takes a whole CPU, so the reference is one node that boots alone, times the nodes for each CPU. Meanwhile `walt node
show` is run once a second.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.local.instance import Instance

OWNER = "root"
PREFIX = "bench-mass"
LIMIT_S = 3600
LIMIT_RATIO = 1.5
LIMIT_SHOW_S = 1.0


def walt(instance: Instance, *arguments: str) -> str:
    env = {**os.environ, "WALT_CONFIG": str(instance.clients / f"{OWNER}.toml")}
    argv = [Path(sys.executable).with_name("walt"), *arguments]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout


def boot_all(instance: Instance, names: Sequence[str], *settings: str) -> float:
    """Seconds from the command until all have booted."""
    start = time.monotonic()
    walt(instance, "node", "create", *settings, *names)
    walt(instance, "node", "wait", "--timeout", str(LIMIT_S), *names)
    return time.monotonic() - start


class ShowTimes:
    """How long `walt node show` takes, once a second."""

    def __init__(self, instance: Instance) -> None:
        self.seconds: list[float] = []
        self._instance = instance
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> ShowTimes:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(1):
            start = time.monotonic()
            walt(self._instance, "node", "show")
            self.seconds.append(time.monotonic() - start)


def powered_on(instance: Instance, names: Sequence[str], since: float) -> int:
    """How often, of all nodes together: each beyond the number of nodes is a retry. since: epoch seconds, as nodes of
    an earlier run had these names."""
    events = json.loads(walt(instance, "log", "show", "-n", "10000", "-o", "json", *names))
    states = [event["text"] for event in events if event["kind"] == "state" and event["at"] >= since]
    return sum(text.startswith("loading: ") for text in states)


def main() -> None:
    instance = Instance(sys.argv[1] if len(sys.argv) > 1 else "local")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    names = [f"{PREFIX}{number}" for number in range(1, count + 1)]
    cpus = os.cpu_count() or 1
    try:
        alone_s = boot_all(instance, [f"{PREFIX}0"], "-c", "boot.delay=0")
        walt(instance, "node", "remove", f"{PREFIX}0")
        since = time.time()
        with ShowTimes(instance) as shows:
            took_s = boot_all(instance, names)
        retries = powered_on(instance, names, since) - count
    finally:
        walt(instance, "node", "remove", *names)
    ideal_s = alone_s * count / cpus
    reference = f"{count}/{cpus} boots of one ({alone_s:.1f} s)"
    print(f"{count} nodes on {cpus} CPUs")
    print(f"all booted      {took_s:8.1f} s   {took_s / ideal_s:.2f} x {reference}, limit {LIMIT_RATIO}")
    print(f"boots repeated  {retries:8d}     limit 0")
    median_s = statistics.median(shows.seconds)
    print(f"walt node show  {max(shows.seconds):8.2f} s   at most; median {median_s:.2f} s; limit {LIMIT_SHOW_S}")


if __name__ == "__main__":
    main()
