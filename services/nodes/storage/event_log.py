"""The log of events in the database: what happened to nodes, including those that are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from services.nodes.domain.accounts import Account
from services.nodes.domain.event_texts import STATE, EventQuery
from services.nodes.storage.tables import events
from walt.contracts.nodes import Event


class EventLog:
    """The log within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, new: Sequence[Event]) -> None:
        """Their ids are given by the database."""
        if new:
            rows = [{name: value for name, value in asdict(event).items() if name != "id"} for event in new]
            self._connection.execute(sa.insert(events), rows)

    def of(self, names: Collection[str], query: EventQuery, account: str | None = None) -> list[Event]:
        """Of the nodes of these names and, with `account`, of all nodes while they belonged to it; oldest first."""
        concerned: sa.ColumnElement[bool] = events.c.node.in_(names)
        if account is not None:
            concerned = sa.or_(concerned, events.c.owner_account == account)
        selected = sa.select(events).where(concerned, events.c.at >= query.since).limit(query.limit)
        if query.after:
            return self._read(selected.where(events.c.id > query.after).order_by(events.c.id))
        return self._read(selected.order_by(events.c.id.desc()))[::-1]

    def by_others(self, owner: Account, since: float) -> list[Event]:
        """The commands of others on the nodes of this account."""
        selected = sa.select(events).where(
            events.c.at >= since,
            events.c.owner_account == owner.id,
            events.c.kind != STATE,
            events.c.user != owner.name,
        )
        return self._read(selected.order_by(events.c.id))

    def names(self, names: Collection[str]) -> set[str]:
        """Those of the names that are in the log."""
        known = sa.select(events.c.node).distinct().where(events.c.node.in_(names))
        return set(self._connection.scalars(known))

    def prune(self, kept: int) -> None:
        """Keep the newest `kept` events, delete the rest."""
        oldest = sa.select(events.c.id).order_by(events.c.id.desc()).offset(kept).limit(1)
        last = self._connection.scalar(oldest)
        if last is not None:
            self._connection.execute(sa.delete(events).where(events.c.id <= last))

    def _read(self, query: sa.Select[tuple[object, ...]]) -> list[Event]:
        return [Event(**row) for row in self._connection.execute(query).mappings()]
