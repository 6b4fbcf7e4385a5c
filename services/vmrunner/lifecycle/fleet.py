"""All VMs of this host: a runner for each, and the reconciliation of what runs with the specs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from services.vmrunner.lifecycle import moves
from services.vmrunner.lifecycle.guest_events import GuestEvent
from services.vmrunner.lifecycle.runner import Runner
from services.vmrunner.lifecycle.runner_context import RunnerContext
from services.vmrunner.qemu.vm import Usage
from walt.contracts.agent_rights import check_asks_for
from walt.contracts.bootserver import NodeBooted
from walt.contracts.errors import Conflict, Failed, WaltError
from walt.contracts.nodes import ABSENT, NodeWanted
from walt.contracts.vmrunner import VmReport

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """At one moment. specs: of the runners; removed: nodes that were removed since this process started."""

    ids: set[int]
    specs: Mapping[int, NodeWanted]
    removed: set[int]


class Fleet:
    def __init__(self, context: RunnerContext) -> None:
        self._context = context
        self._runners: dict[int, Runner] = {}
        self._removed: dict[int, int] = {}  # node id: version of the spec that removed it
        self._last_removed: set[int] = set()  # of them, those that the last reconciliation found
        self._early: dict[int, NodeBooted] = {}  # came before the spec of their node
        self._is_reconciled = False
        self._promise_memory()

    def known(self) -> Known:
        """Nodes of which there is anything on this host: a runner, a qemu, a file."""
        runners = self._runners
        ids = {*runners, *self._context.records.known(), *self._context.launcher.known()}
        return Known(ids, {one: runner.spec for one, runner in runners.items()}, set(self._removed))

    def apply(self, spec: NodeWanted) -> None:
        """An older spec than the newest, or one of a node that was removed, changes nothing."""
        seen = moves.seen_from(self._context.name, spec)
        if seen is not None:
            self._apply(seen)

    def _apply(self, spec: NodeWanted) -> None:
        if not spec.is_virtual or spec.version <= self._removed.get(spec.id, -1):
            return
        runner = self._runners.get(spec.id)
        if runner is not None:
            runner.apply(spec)
            return
        self._runners[spec.id] = runner = Runner(spec, self._context)
        event = self._early.pop(spec.id, None)
        if event is not None:
            runner.hear(event)
        threading.Thread(target=self._run, args=(runner,), daemon=True).start()

    def hear(self, event: GuestEvent) -> None:
        runner = self._runners.get(event.node_id)
        if runner is not None:
            runner.hear(event)
        elif isinstance(event, NodeBooted) and event.node_id in self._context.records.known():
            self._early[event.node_id] = event

    def reconcile(self, specs: Iterable[NodeWanted], before: Known) -> None:
        """specs: all of this host, requested after `before` was read: what is in that and has no spec is removed. (A
        node created in between is in neither.) What events had brought before gives way to them, even to lower
        versions: the registry may have been restored from a backup."""
        seen = (moves.seen_from(self._context.name, spec) for spec in specs)
        by_id = {spec.id: spec for spec in seen if spec is not None}
        for spec in by_id.values():
            if spec.id in before.removed and spec.power != ABSENT:
                self._removed.pop(spec.id, None)
            runner = self._runners.get(spec.id)
            nothing_came_since = runner is None or runner.spec is before.specs.get(spec.id)
            self._apply(spec)
            if nothing_came_since and spec.id in self._runners:
                self._runners[spec.id].apply(spec, may_go_back=True)
        self._forget_removed(before.removed - by_id.keys())
        for node_id in before.ids - by_id.keys():
            try:
                self._remove_unknown(node_id)
            except (WaltError, OSError) as error:  # tried again next time; the others do not wait for that
                log.warning("node %d is not in the registry, but cannot be removed: %s", node_id, error)
        self._is_reconciled = True

    def leaving(self, node_id: int, move: int, caller: str) -> Runner:
        """The runner of a node whose VM has ended and whose disks go to another host, by this move. Conflict; Denied
        to a caller of a host to which they do not go."""
        runner = self._runners.get(node_id)
        if runner is None or not runner.has_left(move):
            raise Conflict(f"the disks of node {node_id} are still in use on host {self._context.name}")
        check_asks_for(caller, runner.spec.host)
        return runner

    def all_reports(self) -> list[VmReport]:
        """Failed before the first reconciliation: a VM that runs but has no runner yet must not count as gone."""
        if not self._is_reconciled:
            raise Failed(f"vmrunner of {self._context.name} has not reconciled with nodes yet: its VMs are not known")
        return self.reports()

    def reports(self) -> list[VmReport]:
        """Of those that have a runner so far."""
        return [runner.report() for runner in self._runners.values()]

    def usage(self) -> list[tuple[str, Usage]]:
        """Of each running qemu, by node name."""
        running = [(runner.spec.name, runner.vm) for runner in self._present()]
        measured = [(name, vm.usage()) for name, vm in running if vm is not None]
        return [(name, usage) for name, usage in measured if usage is not None]

    def disk_bytes(self) -> list[tuple[str, int]]:
        """How much of the server's disk space the disks of each node take, by node name."""
        used = {runner.spec.name: self._disk_bytes(runner.spec.id) for runner in self._present()}
        return [(name, used_bytes) for name, used_bytes in used.items() if used_bytes]

    def disk_bytes_by_id(self) -> dict[int, int]:
        """As `disk_bytes`, of the VMs that run, by node id."""
        running = [node_id for node_id, runner in self._runners.items() if runner.vm is not None]
        return {one: self._disk_bytes(one) for one in running}

    def pause(self, node_id: int) -> None:
        runner = self._runners.get(node_id)
        if runner is not None and runner.vm is not None:
            runner.vm.pause(True)

    def resume_all(self) -> None:
        for runner in list(self._runners.values()):
            if runner.vm is not None:
                runner.vm.pause(False)

    def boots(self) -> list[tuple[str, Mapping[str, int]]]:
        """How the boots of each node ended, by node name."""
        return [(runner.spec.name, self._context.boots.of(runner.spec.id)) for runner in self._present()]

    def _disk_bytes(self, node_id: int) -> int:
        disks = sum(disk.used_bytes for disk in self._context.disks.data(node_id))
        return disks + self._context.persist.disk_bytes(node_id)

    def _present(self) -> list[Runner]:
        """Without those being removed: another node may have their name already."""
        return [runner for runner in self._runners.values() if runner.spec.power != ABSENT]

    def _promise_memory(self) -> None:
        """To what may run already, before the first VM is admitted."""
        for record in map(self._context.records.load, self._context.records.known()):
            if record is not None and record.may_hold_memory:
                self._context.memory.promise(record.node_id, record.ram_bytes)

    def _run(self, runner: Runner) -> None:
        runner.run()
        node_id = runner.spec.id
        self._removed[node_id] = runner.spec.version
        del self._runners[node_id]

    def _forget_removed(self, ids: set[int]) -> None:
        """ids: removed here, and from the registry. No spec of them is under way any more after one more turn."""
        for node_id in ids & self._last_removed:
            self._removed.pop(node_id, None)
        self._last_removed = ids

    def _remove_unknown(self, node_id: int) -> None:
        runner = self._runners.get(node_id)
        if runner is not None:
            runner.apply(replace(runner.spec, power=ABSENT, version=runner.spec.version + 1))
            return
        if node_id not in self.known().ids:
            return
        log.warning("node %d is not in the registry: its VM and files are removed", node_id)
        vm = self._context.launcher.adopt(node_id)
        if vm is not None:
            vm.watch(lambda: None)
            vm.end()
        record = self._context.records.load(node_id)
        name, is_elsewhere = (record.name, record.leaving > 0) if record is not None else (f"node {node_id}", False)
        self._context.forget(node_id, name, is_elsewhere=is_elsewhere)
        self._early.pop(node_id, None)
