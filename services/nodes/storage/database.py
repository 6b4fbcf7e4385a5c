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
from alembic.util import CommandError
from prometheus_client import Counter

from services.kit.tasks import in_os_thread
from walt.contracts.errors import Conflict, Failed

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_WAIT_S = 15  # another process that writes without a pause lets us in by chance only
TRANSACTIONS = Counter("walt_registry_transactions_total", "Transactions of the registry", ["outcome"])
LOCK = 0x77616C74  # key of the advisory lock that PostgreSQL keeps for this database


def sqlite_url(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'registry.db'}"


class Database:
    """`with database.transaction() as connection:` all or nothing, one at a time over all processes, so that what is
    read stays true until the commit. Migrated when it is opened. kind: sqlite or postgresql."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self.kind = self._engine.dialect.name
        self._one_at_a_time = threading.Lock()
        with self.transaction() as connection:
            migrate(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        # The driver would block the whole process while it waits for a lock that another greenthread holds.
        with self._one_at_a_time:
            try:
                with self._engine.begin() as connection:
                    yield connection
            except sa.exc.IntegrityError as error:
                TRANSACTIONS.labels("refused").inc()
                raise Conflict(f"another command was faster ({error.orig}); look again and retry") from error
            except sa.exc.DBAPIError as error:
                TRANSACTIONS.labels("rolled_back").inc()
                raise Failed(f"the database of the registry cannot be used: {error.orig}") from error
            except BaseException:
                TRANSACTIONS.labels("rolled_back").inc()
                raise
            TRANSACTIONS.labels("committed").inc()

    def close(self) -> None:
        self._engine.dispose()


@contextlib.contextmanager
def opened(url: str) -> Iterator[sa.Engine]:
    """The database without its tables being migrated; for one who is alone with it."""
    engine = _engine(url)
    try:
        yield engine
    except sa.exc.DBAPIError as error:
        raise Failed(f"the database of the registry cannot be used: {error.orig}") from error
    finally:
        engine.dispose()


def migrate(connection: sa.Connection, revision: str = "head") -> None:
    """Failed for a revision that this version does not know."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise Failed(f"the tables of a registry at {revision} cannot be made by this version: {error}") from error


def _engine(url: str) -> sa.Engine:
    kind = sa.make_url(url).get_backend_name()
    if kind not in _TUNE:
        raise Failed(f"WALT_DATABASE_URL is of {kind}; allowed: {', '.join(_TUNE)}")
    engine = sa.create_engine(url, pool_pre_ping=True)  # the server may have been restarted meanwhile
    _TUNE[kind](engine)
    return engine


def _tune_sqlite(engine: sa.Engine) -> None:
    engine.dialect.do_commit = _commit  # type: ignore[assignment, method-assign]

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        busy = f"busy_timeout = {1000 * LOCK_WAIT_S}"
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", busy):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _commit(connection: Any) -> None:
    """A slow disk may take seconds for it; all other green threads go on."""
    in_os_thread(connection.commit)


def _tune_postgresql(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")


_TUNE = {"sqlite": _tune_sqlite, "postgresql": _tune_postgresql}
