"""The traces in the database, by account and name."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from services.nodes.storage.history import History
from services.nodes.storage.tables import traces
from walt.contracts import serialization
from walt.contracts.traces import TraceContent, TraceView


class TraceTable:
    """The traces within one transaction."""

    def __init__(self, connection: sa.Connection, history: History) -> None:
        self._connection = connection
        self._history = history

    def of(self, account: str) -> list[TraceView]:
        """By name."""
        query = sa.select(traces.c.view).where(traces.c.owner_account == account).order_by(traces.c.name)
        return [serialization.load(TraceView, view) for view in self._connection.scalars(query)]

    def ids(self, accounts: Collection[str]) -> dict[tuple[str, str], int]:
        """{(account, name): id}"""
        query = sa.select(traces.c.id, traces.c.owner_account, traces.c.name).where(
            traces.c.owner_account.in_(accounts)
        )
        return {(row.owner_account, row.name): row.id for row in self._connection.execute(query)}

    def names(self, ids: Collection[int]) -> dict[int, str]:
        query = sa.select(traces.c.id, traces.c.name).where(traces.c.id.in_(ids))
        return {row.id: row.name for row in self._connection.execute(query)}

    def content(self, trace_id: int) -> TraceContent | None:
        query = sa.select(traces.c.text, traces.c.loops, traces.c.view).where(traces.c.id == trace_id)
        row = self._connection.execute(query).one_or_none()
        return TraceContent(row.text, row.loops, row.view.get("start_us", 0)) if row else None

    def put(self, account: str, view: TraceView, content: TraceContent) -> None:
        values = {"id": self._history.new_id(), "owner_account": account, "name": view.name, "loops": content.loops}
        self._connection.execute(sa.insert(traces).values(view=serialization.dump(view), text=content.text, **values))

    def remove(self, account: str, name: str) -> None:
        self._connection.execute(sa.delete(traces).where(traces.c.owner_account == account, traces.c.name == name))

    def remove_all(self, account: str) -> None:
        self._connection.execute(sa.delete(traces).where(traces.c.owner_account == account))
