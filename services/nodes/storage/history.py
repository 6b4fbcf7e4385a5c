"""The history of the registry in its database: its revision, its epochs, the ids it has given, and the disputes of
agents that obeyed another one."""

from __future__ import annotations

import secrets
import uuid

import sqlalchemy as sa

from services.nodes.domain import history
from services.nodes.domain.history import EPOCHS_KEPT, Dispute
from services.nodes.storage.tables import disputes, epochs, registry
from walt.contracts.nodes import Revision

MAX_VNI = 2**24 - 1  # of VXLAN; 0 is walt-net's


class History:
    """The history within one transaction, which counts as one change."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._is_changed = False

    @property
    def revision(self) -> Revision:
        row = self._connection.execute(sa.select(registry.c.epoch, registry.c.sequence)).one()
        return Revision(row.epoch, row.sequence)

    def changed(self) -> None:
        """What agents are to obey changes in this transaction."""
        if not self._is_changed:
            self._connection.execute(sa.update(registry).values(sequence=registry.c.sequence + 1))
            self._is_changed = True

    def new_id(self) -> int:
        """For a row of any table; never given before."""
        counted = sa.update(registry).values(last_id=registry.c.last_id + 1).returning(registry.c.last_id)
        return int(self._connection.execute(counted).scalar_one())

    def new_vni(self) -> int:
        """For a network; given before only when all others were given since."""
        following = registry.c.last_vni % MAX_VNI + 1
        counted = sa.update(registry).values(last_vni=following).returning(registry.c.last_vni)
        return int(self._connection.execute(counted).scalar_one())

    def begin_epoch(self, now: float) -> None:
        """now: epoch seconds."""
        before = self._connection.execute(sa.select(registry)).one()
        ended = sa.update(epochs).where(epochs.c.id == before.epoch)
        self._connection.execute(ended.values(last_sequence=before.sequence))
        new, first = uuid.uuid4().hex, history.first_id(before.last_id, now)
        self._connection.execute(sa.update(registry).values(epoch=new, last_id=first))
        self._add_epoch(new, None)
        oldest = sa.select(epochs.c.number).order_by(epochs.c.number.desc()).offset(EPOCHS_KEPT).limit(1)
        number = self._connection.scalar(oldest)
        if number is not None:
            self._connection.execute(sa.delete(epochs).where(epochs.c.number <= number))

    def skip_ids(self, now: float) -> None:
        """Those that a lost registry may have given, whose place this one takes. now: epoch seconds."""
        present = self._connection.execute(sa.select(registry.c.last_id)).scalar_one()
        last_id = history.id_after_loss(present, now, secrets.randbits)
        self._connection.execute(sa.update(registry).values(last_id=last_id))

    def is_known(self, found: Revision) -> bool:
        current = self.revision
        last = {row.id: row.last_sequence for row in self._connection.execute(sa.select(epochs))}
        return history.is_known(found, {**last, current.epoch: current.sequence})

    def disputes(self) -> list[Dispute]:
        rows = self._connection.execute(sa.select(disputes).order_by(disputes.c.agent))
        return [Dispute(row.agent, Revision(row.epoch, row.sequence), row.at) for row in rows]

    def put_dispute(self, dispute: Dispute) -> None:
        self.drop_dispute(dispute.agent)
        found = dispute.revision
        row = {"agent": dispute.agent, "epoch": found.epoch, "sequence": found.sequence, "at": dispute.at}
        self._connection.execute(sa.insert(disputes).values(row))

    def drop_dispute(self, agent: str) -> None:
        self._connection.execute(sa.delete(disputes).where(disputes.c.agent == agent))

    def accept(self, now: float) -> list[Dispute]:
        """Whatever agents obeyed in the epochs of their disputes, this registry follows it. It begins a new epoch: the
        disputed one is the present one where the database was exchanged while nodes was running."""
        decided = self.disputes()
        self.begin_epoch(now)
        self.skip_ids(now)
        for epoch in {one.revision.epoch for one in decided}:
            changed = sa.update(epochs).where(epochs.c.id == epoch).values(last_sequence=None)
            if not self._connection.execute(changed).rowcount:
                self._add_epoch(epoch, None)
        self._connection.execute(sa.delete(disputes))
        return decided

    def _add_epoch(self, epoch: str, last_sequence: int | None) -> None:
        self._connection.execute(sa.insert(epochs).values(id=epoch, last_sequence=last_sequence))
