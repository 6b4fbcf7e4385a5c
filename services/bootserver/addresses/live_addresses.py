"""Addresses on the networks of users in running nodes: set when they change, without a reboot.

At a boot the seed brings them. A node that is not reached is tried again; what its guest refuses comes with its next
boot.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from services.bootserver.addresses import decision, guest_program
from services.bootserver.addresses.decision import Given
from services.bootserver.boot.boot_records import BootRecord, BootRecordStore
from services.kit import tasks
from walt.contracts import bootserver
from walt.contracts.bootserver import BootRequest, SetAddresses
from walt.contracts.console import CommandResult
from walt.contracts.errors import Failed, WaltError
from walt.contracts.nodes import NodeWanted

TURN_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0  # before the next try; doubled after each
MAX_AT_ONCE = 8  # ssh sessions

log = logging.getLogger(__name__)


class LiveAddresses:
    """has_own_script: whether the image of that boot gets no seed; hosts: the platform's block of /etc/hosts for it;
    ask(spec, command): run it in the node, WaltError when the node is not reached."""

    def __init__(
        self,
        records: BootRecordStore,
        has_own_script: Callable[[BootRecord], bool],
        hosts: Callable[[BootRequest], str],
        ask: Callable[[NodeWanted, str], CommandResult],
    ) -> None:
        self._records = records
        self._has_own_script = has_own_script
        self._hosts = hosts
        self._ask = ask
        self._specs: dict[int, NodeWanted] = {}
        self._given: dict[int, Given] = {}
        self._faults: dict[int, str] = {}
        self._left: dict[int, set[str]] = {}  # see Given
        self._due: dict[int, float] = {}  # by node id: not before, in monotonic seconds
        self._pauses: dict[int, float] = {}
        self._at_work: set[int] = set()

    def apply_spec(self, spec: NodeWanted) -> None:
        known = self._specs.get(spec.id)
        if known is None or known.version <= spec.version:
            self._specs[spec.id] = spec
            self._note_left(spec)
            self._pauses.pop(spec.id, None)
            self.check(spec.id)

    def known(self) -> dict[int, NodeWanted]:
        return dict(self._specs)

    def replace(self, specs: Iterable[NodeWanted], before: Mapping[int, NodeWanted]) -> None:
        """before: as `known` was when they were requested; what came since then stays, if it is newer."""
        came = [spec for node_id, spec in self._specs.items() if before.get(node_id) is not spec]
        self._specs = {spec.id: spec for spec in specs}
        for spec in came:
            if spec.id in self._specs:
                self.apply_spec(spec)
        for node_id in (before.keys() | self._given.keys()) - self._specs.keys():
            self.forget(node_id)
        for node_id in self._specs:
            self.check(node_id)

    def forget(self, node_id: int) -> None:
        for table in (self._specs, self._given, self._faults, self._left, self._due, self._pauses):
            table.pop(node_id, None)

    def check(self, node_id: int) -> None:
        """After whatever may have made it necessary to give its system addresses: a new spec, the end of a boot."""
        if self._find_due(node_id) is None:
            self._due.pop(node_id, None)
            self._faults.pop(node_id, None)
        else:
            pause_s = self._pauses.get(node_id, 0.0)
            due = time.monotonic() + pause_s
            self._due[node_id] = min(due, self._due.get(node_id, due))

    def turn(self) -> None:
        """Begin what is due, as much as may be."""
        now = time.monotonic()
        for node_id in [one for one, due in self._due.items() if due <= now and one not in self._at_work]:
            if len(self._at_work) >= MAX_AT_ONCE:
                return
            del self._due[node_id]
            self._at_work.add(node_id)
            tasks.spawn(self._work, node_id)

    def views(self, node_ids: Iterable[int]) -> list[SetAddresses]:
        return [view for node_id in node_ids for view in self._views(node_id)]

    def _views(self, node_id: int) -> Iterable[SetAddresses]:
        record, spec = self._records.find(node_id), self._specs.get(node_id)
        if record is None or spec is None or not record.booted_at:
            return []
        if self._has_own_script(record):
            return decision.without_addresses(spec)
        return decision.views(spec, self._known(record), self._faults.get(node_id, ""))

    def _find_due(self, node_id: int) -> tuple[BootRecord, NodeWanted] | None:
        record, spec = self._records.find(node_id), self._specs.get(node_id)
        if record is None or spec is None or not decision.is_due(record, spec, self._known(record)):
            return None
        return None if self._has_own_script(record) else (record, spec)

    def _known(self, record: BootRecord) -> Given | None:
        known = decision.given(record, self._given.get(record.request.node_id))
        return known and replace(known, left=self._left.get(record.request.node_id, ()))

    def _note_left(self, spec: NodeWanted) -> None:
        record = self._records.find(spec.id)
        known = self._known(record) if record is not None else None
        if known is not None:
            self._left.setdefault(spec.id, set()).update(decision.left(spec, known))

    def _work(self, node_id: int) -> None:
        try:
            found = self._find_due(node_id)
            if found is not None:
                self._give(*found)
                self._pauses.pop(node_id, None)
        except WaltError as error:
            self._failed(node_id, str(error))
        finally:
            self._at_work.discard(node_id)
        self.check(node_id)

    def _give(self, record: BootRecord, spec: NodeWanted) -> None:
        request, known = decision.request_of_hosts(record, spec), self._known(record)
        wanted = decision.wanted(spec, known)
        try:
            self._records.note_addressed_anew(record)  # before: a restart of this service finds it undecided
        except OSError as error:
            raise Failed(f"that it is begun cannot be saved: {error.strerror}") from None
        self._given.pop(spec.id, None)
        self._left.pop(spec.id, None)
        result = self._ask(spec, guest_program.command(self._hosts(request), wanted))
        if result.is_lost:
            raise Failed("the connection to the node was lost")
        refused = guest_program.refusals(result.output, wanted)
        if result.status:
            reason = guest_program.printable(result.output) or f"exit status {result.status}"
            refused = {pair: reason for pair in decision.new(spec, known)}
        absent = decision.absent(refused)
        if self._records.find(spec.id) == record:
            present = bootserver.interfaces_of(decision.without(spec, absent))
            self._given[spec.id] = Given(record.request.run, present, refused)
            log.info("%s: addresses set while it runs, %d of them refused", spec.name, len(refused))
        if absent:
            raise Failed(f"it has no interface with the MAC address {' nor '.join(sorted(absent))} yet")

    def _failed(self, node_id: int, fault: str) -> None:
        if node_id not in self._faults:
            log.warning("node %d: its addresses cannot be set yet: %s", node_id, fault)
        self._faults[node_id] = f"{fault}; it is tried again"
        pause_s = self._pauses.get(node_id, FIRST_PAUSE_S / 2)
        self._pauses[node_id] = min(2 * pause_s, LONGEST_PAUSE_S)
