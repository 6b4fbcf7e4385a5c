"""The registry in the databases that it can be in: SQLite, and a real PostgreSQL where that is installed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.contracts.errors import Failed
from services.contracts.health import FAIL, OK
from services.contracts.nodes import Event
from services.contracts.settings import NodeConfig, parse_settings
from services.contracts.vmrunner import BOOTED, VmReport
from services.nodes import commands
from services.nodes.creation import Place, Wish, new_nodes
from services.nodes.database import Database, sqlite_url
from services.nodes.journal import Query
from services.nodes.model import Asked
from services.nodes.store import Store
from services.nodes.tables import metadata
from tests.conftest import require
from tests.postgres import PROGRAMS, private_postgres

ROOT = Path(__file__).parents[2]
CONFIG = NodeConfig(**parse_settings(["networks=walt-net,home-net[lat=10ms]", "disks=1G,2G[template=ext4]"]))
BOOTS = 40
BOOT_MANY_TIMES = f"""
import sys
from services.nodes import model
from services.nodes.store import Store

store = Store(sys.argv[1])
for _ in range({BOOTS}):
    with store.transaction() as registry:
        (node,) = registry.nodes()
        registry.save(model.changed(node, boot=node.boot + 1))
"""


@pytest.fixture(scope="module")
def postgres():
    require("postgresql", bool(PROGRAMS), "no server in /usr/lib/postgresql")
    with private_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    return request.getfixturevalue("postgres").url


@pytest.fixture
def store(url):
    one = Store(url)
    with one.transaction() as registry:
        for node in registry.nodes():
            registry.delete(node.id)
        (new,) = new_nodes(Wish(("n",), CONFIG), [], Place("h", "10.0.0.0/28"), Asked("alice", 1.0))
        registry.save(new)
    yield one
    one.close()


def test_migrations_lead_to_the_tables(url):
    database = Database(url)
    with database.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_what_is_saved_is_read(store):
    with store.transaction() as registry:
        (node,) = registry.nodes()
        assert node == registry.get(node.id) and node.config == CONFIG
        assert [one.network.name for one in node.interfaces] == ["walt-net", "home-net"]
        assert [one.size_bytes for one in node.disks] == [10**9, 2 * 10**9]
        report = VmReport(node.id, "n", "h", 1, 1, time.time_ns(), BOOTED, 9.0, "it answers")
        commands.take_report(registry, report, 9.0)
    with store.transaction() as registry:
        (node,) = registry.nodes()
        assert (node.status.state, node.status.sequence) == (BOOTED, report.sequence)
        assert registry.events.of(["n"], Query(0.0, 0, 9))[-1].text == "booted: it answers"


def test_two_processes_at_once_lose_nothing(store, url):
    argv = [sys.executable, "-c", BOOT_MANY_TIMES, url]
    for process in [subprocess.Popen(argv, cwd=ROOT) for _ in range(2)]:
        assert process.wait(60) == 0
    with store.transaction() as registry:
        assert registry.nodes()[0].boot == 1 + 2 * BOOTS


def test_server_that_was_restarted_is_used_again(postgres):
    store = Store(postgres.url)
    with store.transaction() as registry:
        identity = registry.identity()
    postgres.stop()
    with pytest.raises(Failed, match="the database of the registry cannot be used: "), store.transaction():
        pass
    assert store.diagnose().status == FAIL
    postgres.start()
    with store.transaction() as registry:
        assert registry.identity() == identity
    assert store.diagnose().status == OK
    store.close()


def test_sqlite_without_space_is_told_and_nothing_is_lost(tmp_path):
    store = Store(sqlite_url(tmp_path))
    with pytest.raises(Failed, match="cannot be used: database or disk is full"), store.transaction() as registry:
        registry._connection.exec_driver_sql("PRAGMA max_page_count = 1")
        registry.events.add([Event(0, 1.0, "n", "alice", "alice", "config", "x" * 100_000)])
    with store.transaction() as registry:
        assert registry.events.names(["n"]) == set()
    store.close()


def test_other_databases_are_refused():
    with pytest.raises(Failed, match="WALT_DATABASE_URL is of mssql; allowed: sqlite, postgresql"):
        Database("mssql://host/walt")
