"""The whole registry as plain data, and back: for backups, from one kind of database into the other too."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from services.nodes.storage.database import migrate, opened
from services.nodes.storage.history import History
from walt.contracts.errors import Conflict, Failed, NotFound

REVISIONS = "alembic_version"  # the table in which alembic keeps the version of the others


@dataclass(frozen=True)
class Dump:
    """revision: of the tables (storage/migrations). tables: {name: rows as {column: value of JSON}}."""

    revision: str
    tables: Mapping[str, Sequence[Mapping[str, Any]]]


def read(url: str) -> Dump:
    """As it is at one moment, in a transaction that only reads: nodes goes on meanwhile. Tables of an earlier version
    are read as they are; NotFound where there is no registry."""
    parts = sa.make_url(url)
    if parts.get_backend_name() == "sqlite":
        if not Path(parts.database or "").exists():
            raise NotFound(f"there is no registry in {parts.database}")
        engine = sa.create_engine(url)
        sa.event.listen(engine, "connect", _begin_nothing)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    else:
        engine = sa.create_engine(url, isolation_level="REPEATABLE READ")
    try:
        with engine.connect() as connection, connection.begin():
            return _read(connection)
    except sa.exc.DBAPIError as error:
        raise Failed(f"the database of the registry cannot be read: {error.orig}") from error
    finally:
        engine.dispose()


def write(url: str, dump: Dump, replace: bool) -> None:
    """All or nothing, while no nodes uses it. Conflict where there is a registry, unless it is to be replaced."""
    with opened(url) as database, database.begin() as connection:
        present = _reflected(connection)
        if present.tables and not replace:
            raise Conflict("there is a registry already; allowed: a platform without one, or --force")
        present.drop_all(connection)
        migrate(connection, dump.revision)
        tables = _reflected(connection).tables
        unknown = sorted(set(dump.tables) - set(tables))
        if unknown:
            raise Failed(f"this backup has tables that no registry of this version has: {', '.join(unknown)}")
        for table in reversed(_sorted(tables)):
            connection.execute(sa.delete(table))
        for table in _sorted(tables):
            if rows := dump.tables.get(table.name):
                connection.execute(sa.insert(table), list(rows))
                _count_on(connection, table)
        if "last_id" in tables["registry"].columns:  # tables of before count none
            History(connection).skip_ids(time.time())


def _read(connection: sa.Connection) -> Dump:
    found = _reflected(connection).tables
    if REVISIONS not in found:
        raise NotFound("there is no registry in this database")
    revision = connection.execute(sa.select(found[REVISIONS])).scalar_one()
    return Dump(str(revision), {table.name: _rows(connection, table) for table in _sorted(found)})


def _rows(connection: sa.Connection, table: sa.Table) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in connection.execute(sa.select(table)).mappings()]


def _reflected(connection: sa.Connection) -> sa.MetaData:
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return metadata


def _sorted(tables: Mapping[str, sa.Table]) -> list[sa.Table]:
    """Without that of alembic; each after those that it refers to."""
    return [table for table in sa.sql.ddl.sort_tables(tables.values()) if table.name != REVISIONS]


def _count_on(connection: sa.Connection, table: sa.Table) -> None:
    """The next number that PostgreSQL gives to a row comes after those of the dump; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for column in table.primary_key.columns:
        of_column = sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name)
        if connection.scalar(sa.select(of_column)) is not None:
            last = sa.select(sa.func.max(column)).scalar_subquery()
            connection.execute(sa.select(sa.func.setval(of_column, last)))


def _begin_nothing(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
