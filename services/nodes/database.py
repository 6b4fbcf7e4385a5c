"""The database behind the registry: opened, migrated, one transaction at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from services.contracts.errors import Conflict
from services.nodes.metrics import TRANSACTIONS

MIGRATIONS = Path(__file__).parent / "migrations"


def sqlite_url(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'registry.db'}"


class Database:
    """`with database.transaction() as connection:` all or nothing. Migrated when it is opened."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)
        self._one_at_a_time = threading.Lock()
        if self._engine.dialect.name == "sqlite":
            _tune_sqlite(self._engine)
        with self._engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        # A driver blocks the whole process while it waits for a lock that another greenthread of it holds.
        with self._one_at_a_time:
            try:
                with self._engine.begin() as connection:
                    yield connection
            except sa.exc.IntegrityError as error:
                TRANSACTIONS.labels("refused").inc()
                raise Conflict(f"another command was faster ({error.orig}); look again and retry") from error
            except BaseException:
                TRANSACTIONS.labels("rolled_back").inc()
                raise
            TRANSACTIONS.labels("committed").inc()

    def close(self) -> None:
        self._engine.dispose()


def _tune_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # what is read stays true until it is written
