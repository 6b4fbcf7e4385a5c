"""What the registry takes as the number of nodes grows: `python -m benchmarks.scale [NODES]`, by default 10000.

No platform is needed: the commands of `nodes` on a registry of its own (SQLite, in a temporary folder), with 100 hosts
and accounts of 50 nodes each, on a network of theirs. A tenth of the size is measured on the way: the reference of the
ratio. The times are those of the processor. Not in it: the disk, the broker, the agents.
"""

from __future__ import annotations

import services.kit.monkey_patch  # noqa: F401  isort: skip

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.nodes.commands import node_commands, queries, reconcile
from services.nodes.domain import creation, links, model
from services.nodes.domain.model import RequestContext
from services.nodes.domain.ownership import Watchers
from services.nodes.domain.placement import HostPool, HostState
from services.nodes.storage.database import sqlite_url
from services.nodes.storage.registry import Registry, RegistryStore
from walt.contracts.nodes import LOG_IN
from walt.contracts.vmrunner import BOOTED, Capacity, VmReport

HOSTS = 100
BATCH = 50  # nodes of one account, created by one command
ROUNDS = 5
LIMITS_MS = {  # goals at full size
    "create, for each of 50": 5.0,
    "walt node show, of my 50": 200.0,
    "walt node show, of all": 2000.0,
    "authorize": 5.0,
}


class Measured:
    def __init__(self, folder: Path) -> None:
        self.store = RegistryStore(sqlite_url(folder))
        capacity = Capacity(64, 2**39, 1.5)
        states = tuple(HostState(f"host{number}", capacity=capacity) for number in range(HOSTS))
        self.pool = HostPool("host0", "10.0.0.0/16", states)
        self.sequence = 0

    def grow(self, batches: range) -> list[float]:
        """Milliseconds for each node, by batch."""
        return [self._timed(lambda number=number: self._create(number)) / BATCH for number in batches]

    def operations(self) -> dict[str, float]:
        """Milliseconds of each, the median of some rounds."""
        name = "n3-7"
        return {
            "walt node show, of my 50": self._median(lambda: self._show("my-nodes")),
            "walt node show, of all": self._median(lambda: self._show("all-nodes")),
            "authorize": self._median(lambda: self._in_one(queries.authorize, name, LOG_IN, Watchers.OWNER)),
            "a report of vmrunner": self._median(lambda: self._report(name)),
            "walt network link": self._median(lambda: self._link(name)),
            "specs of one host": self._median(self._specs),
            "what the metrics count": self._median(self._summaries),
        }

    def _create(self, number: int) -> None:
        names = [f"n{number}-{index}" for index in range(BATCH)]
        request = creation.parse(names, ["networks=walt-net,home-net"], {})
        with self.store.transaction() as registry:
            node_commands.create(registry, self._context(registry, f"user{number}"), request, self.pool, {})

    def _context(self, registry: Registry, user: str) -> RequestContext:
        return RequestContext(user, time.time(), account=registry.accounts.of(user).id)

    def _show(self, selection: str) -> None:
        with self.store.transaction() as registry:
            account = registry.accounts.of("user3").id
            for node in queries.select_nodes(registry, selection, account):
                model.view(node)

    def _in_one(self, function: Callable[..., Any], *arguments: Any) -> None:
        with self.store.transaction() as registry:
            function(registry, registry.accounts.of("user3").id, *arguments)

    def _report(self, name: str) -> None:
        self.sequence += 1
        with self.store.transaction() as registry:
            node = registry.named(name)
            assert node is not None
            report = VmReport(node.id, name, node.host, node.boot, 1, self.sequence, BOOTED, time.time(), "")
            reconcile.apply_report(registry, report, time.time())

    def _link(self, name: str) -> None:
        self.sequence += 1
        request = links.parse("home-net", [f"lat={self.sequence}ms"], from_plain=False)
        with self.store.transaction() as registry:
            node_commands.link(registry, self._context(registry, "user3"), name, request)

    def _specs(self) -> None:
        with self.store.transaction() as registry:
            queries.specs(registry, "host3")

    def _summaries(self) -> None:
        with self.store.transaction() as registry:
            registry.summaries()

    def _median(self, operation: Callable[[], None]) -> float:
        return statistics.median(self._timed(operation) for _ in range(ROUNDS))

    def _timed(self, operation: Callable[[], None]) -> float:
        started = time.process_time()
        operation()
        return (time.process_time() - started) * 1000


def measure(nodes: int) -> tuple[dict[str, float], dict[str, float]]:
    """Of a tenth of these nodes, and of all."""
    with tempfile.TemporaryDirectory() as folder:
        world, found = Measured(Path(folder)), []
        done = 0
        for size in (nodes // 10 // BATCH, nodes // BATCH):
            took = world.grow(range(done, size))
            done = size
            last = took[-max(1, nodes // 100 // BATCH) :]
            found.append({"create, for each of 50": statistics.mean(last), **world.operations()})
        world.store.close()
    return found[0], found[1]


def main() -> None:
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    tenth, full = measure(nodes)
    print(f"{'operation':<28}{f'{nodes // 10} nodes':>14}{f'{nodes} nodes':>14}{'ratio':>8}{'goal':>10}")
    for name, took in full.items():
        goal = f"{LIMITS_MS[name]:.0f} ms" if name in LIMITS_MS else ""
        print(f"{name:<28}{tenth[name]:>11.1f} ms{took:>11.1f} ms{took / tenth[name]:>8.2f}{goal:>10}")


if __name__ == "__main__":
    main()
