"""The log of events in the database: what happened to nodes, including those that are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from services.nodes.domain.accounts import Account
from services.nodes.domain.event_texts import STATE, EventQuery, kept_of_each
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
        """Delete the oldest beyond `kept` of those accounts that have most; free nodes count as one account."""
        if (self._connection.scalar(sa.select(sa.func.count()).select_from(events)) or 0) <= kept:
            return
        query = sa.select(events.c.owner_account, sa.func.count()).group_by(events.c.owner_account)
        counts = {account: count for account, count in self._connection.execute(query)}
        each = kept_of_each(counts.values(), kept)
        for account in (account for account, count in counts.items() if count > each):
            of_account = events.c.owner_account == account
            newest = sa.select(events.c.id).where(of_account).order_by(events.c.id.desc())
            last = self._connection.scalar(newest.offset(each).limit(1))
            self._connection.execute(sa.delete(events).where(of_account, events.c.id <= last))

    def _read(self, query: sa.Select[tuple[object, ...]]) -> list[Event]:
        return [Event(**row) for row in self._connection.execute(query).mappings()]
