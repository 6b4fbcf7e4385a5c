"""The log of events in the database: what happened to nodes, also to those that are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from services.contracts.nodes import Event
from services.nodes.journal import STATE, Query
from services.nodes.tables import events


class EventLog:
    """The log within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, entries: Sequence[Event]) -> None:
        if entries:
            rows = [{name: value for name, value in asdict(one).items() if name != "id"} for one in entries]
            self._connection.execute(sa.insert(events), rows)

    def of(self, names: Collection[str], query: Query, owner: str | None = None) -> list[Event]:
        """Of the nodes of these names and, with `owner`, of all nodes that were his; oldest first."""
        concerned: sa.ColumnElement[bool] = events.c.node.in_(names)
        if owner is not None:
            concerned = sa.or_(concerned, events.c.owner == owner)
        asked = sa.select(events).where(concerned, events.c.at >= query.since).limit(query.limit)
        if query.after:
            return self._read(asked.where(events.c.id > query.after).order_by(events.c.id))
        return self._read(asked.order_by(events.c.id.desc()))[::-1]

    def by_others(self, owner: str, since: float) -> list[Event]:
        """The commands of others on the nodes of this owner."""
        asked = sa.select(events).where(
            events.c.at >= since, events.c.owner == owner, events.c.kind != STATE, events.c.user != owner
        )
        return self._read(asked.order_by(events.c.id))

    def names(self, names: Collection[str]) -> set[str]:
        """Those of the names that the log knows."""
        known = sa.select(events.c.node).distinct().where(events.c.node.in_(names))
        return set(self._connection.scalars(known))

    def prune(self, kept: int) -> None:
        """The newest `kept` stay."""
        oldest = sa.select(events.c.id).order_by(events.c.id.desc()).offset(kept).limit(1)
        last = self._connection.scalar(oldest)
        if last is not None:
            self._connection.execute(sa.delete(events).where(events.c.id <= last))

    def _read(self, query: sa.Select[tuple[object, ...]]) -> list[Event]:
        return [Event(**row) for row in self._connection.execute(query).mappings()]
