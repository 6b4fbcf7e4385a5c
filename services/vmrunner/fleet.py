"""All machines of this host: a runner for each, and the reconciliation of what runs with what is wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.contracts.bootserver import NodeBooted, NodeCopying
from services.contracts.errors import WaltError
from services.contracts.nodes import ABSENT, NodeWanted
from services.contracts.vmrunner import VmReport
from services.vmrunner import lifecycle
from services.vmrunner.runner import Host, Runner, forget
from services.vmrunner.vm import Usage

log = logging.getLogger(__name__)


class Fleet:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._runners: dict[int, Runner] = {}
        self._removed: dict[int, int] = {}  # node id: version of the wish that removed it
        self._unclaimed: dict[int, NodeBooted] = {}  # heard before nodes told of the node
        self._count_memory()

    def known(self) -> set[int]:
        """Nodes of which there is anything here: a runner, a process, a file."""
        return {*self._runners, *self._host.store.known(), *self._host.launcher.known()}

    def wish(self, wanted: NodeWanted) -> None:
        """The newest wish for a node counts; an older one, or one for a node that is gone, changes nothing."""
        if (
            not wanted.is_virtual
            or wanted.host != self._host.name
            or wanted.version <= self._removed.get(wanted.id, -1)
        ):
            return
        runner = self._runners.get(wanted.id)
        if runner is not None:
            runner.wish(wanted)
            return
        self._runners[wanted.id] = runner = Runner(wanted, self._host)
        news = self._unclaimed.pop(wanted.id, None)
        if news is not None:
            runner.booted(news)
        threading.Thread(target=self._look_after, args=(runner,), daemon=True).start()

    def booted(self, news: NodeBooted) -> None:
        runner = self._runners.get(news.node_id)
        if runner is not None:
            runner.booted(news)
        elif news.node_id in self._host.store.known():
            self._unclaimed[news.node_id] = news

    def copying(self, news: NodeCopying) -> None:
        runner = self._runners.get(news.node_id)
        if runner is not None:
            runner.copying(news)

    def reconcile(self, wanted: Iterable[NodeWanted], known_before: set[int]) -> None:
        """wanted: all that nodes wants here, asked for after `known_before` was looked up: what is in that and
        not wanted is nobody's. (A node made in between is in neither.)"""
        wishes = {one.id: one for one in wanted}
        for one in wishes.values():
            self.wish(one)
        for node_id in known_before - wishes.keys():
            try:
                self._end_nobodys(node_id)
            except (WaltError, OSError) as error:  # it is tried again; the others need not wait for that
                log.warning("node %d, of which nodes knows nothing, stays: %s", node_id, error)

    def reports(self) -> list[VmReport]:
        return [runner.report() for runner in self._runners.values()]

    def usage(self) -> list[tuple[str, Usage]]:
        """What each running qemu has taken, by node name."""
        running = [(runner.wanted.name, runner.vm) for runner in self._present()]
        measured = [(name, vm.usage()) for name, vm in running if vm is not None]
        return [(name, usage) for name, usage in measured if usage is not None]

    def disk_bytes(self) -> list[tuple[str, int]]:
        """What the disks of each node take of the server's space, by node name."""
        data = {runner.wanted.name: self._host.disks.data(runner.wanted.id) for runner in self._present()}
        return [(name, sum(disk.used_bytes for disk in disks)) for name, disks in data.items() if disks]

    def boots(self) -> list[tuple[str, Mapping[str, int]]]:
        """How the boots of each node went, by node name."""
        return [(runner.wanted.name, self._host.boots.of(runner.wanted.id)) for runner in self._present()]

    def _present(self) -> list[Runner]:
        """Without those that are about to go: their names may be another node's already."""
        return [runner for runner in self._runners.values() if runner.wanted.power != ABSENT]

    def _count_memory(self) -> None:
        """What may run from before is counted before the first machine is let in."""
        for machine in map(self._host.store.load, self._host.store.known()):
            if machine is not None and lifecycle.holds_memory(machine):
                self._host.memory.promise(machine.node_id, machine.ram_bytes)

    def _look_after(self, runner: Runner) -> None:
        runner.run()
        node_id = runner.wanted.id
        self._removed[node_id] = runner.wanted.version
        del self._runners[node_id]

    def _end_nobodys(self, node_id: int) -> None:
        runner = self._runners.get(node_id)
        if runner is not None:
            gone = replace(runner.wanted, power=ABSENT, version=runner.wanted.version + 1)
            runner.wish(gone)
            return
        if node_id not in self.known():
            return
        log.warning("node %d is not known to nodes: its machine and files are removed", node_id)
        vm = self._host.launcher.adopt(node_id)
        if vm is not None:
            vm.watch(lambda: None)
            vm.end()
        forget(self._host, node_id)
