"""The labs in the database, by account and name."""

from __future__ import annotations

import sqlalchemy as sa

from services.nodes.storage.tables import labs
from walt.contracts import serialization
from walt.contracts.labs import LabDocument


class LabTable:
    """The labs within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def document(self, account: str, name: str) -> LabDocument | None:
        query = sa.select(labs.c.document).where(labs.c.owner_account == account, labs.c.name == name)
        found = self._connection.scalar(query)
        return serialization.load(LabDocument, found) if found else None

    def of(self, account: str) -> dict[str, tuple[float, LabDocument]]:
        """{name: (when it was applied, its document)}, by name."""
        query = sa.select(labs).where(labs.c.owner_account == account).order_by(labs.c.name)
        found = self._connection.execute(query).mappings()
        return {row["name"]: (row["applied_at"], serialization.load(LabDocument, row["document"])) for row in found}

    def names(self, account: str) -> list[str]:
        return list(self._connection.scalars(sa.select(labs.c.name).where(labs.c.owner_account == account)))

    def put(self, account: str, document: LabDocument, now: float) -> None:
        """now: epoch seconds."""
        self.remove(account, document.name)
        values = {"owner_account": account, "name": document.name, "applied_at": now}
        self._connection.execute(sa.insert(labs).values(document=serialization.dump(document), **values))

    def remove(self, account: str, name: str) -> None:
        self._connection.execute(sa.delete(labs).where(labs.c.owner_account == account, labs.c.name == name))

    def remove_all(self, account: str) -> None:
        self._connection.execute(sa.delete(labs).where(labs.c.owner_account == account))
