"""The registry in both kinds of database: SQLite, and a real PostgreSQL where that is installed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import eventlet
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from services.kit import tasks
from services.nodes.commands import reconcile
from services.nodes.domain.creation import NodeRequest
from services.nodes.domain.event_texts import EventQuery
from services.nodes.health import check_database
from services.nodes.storage.database import MIGRATIONS, Database, sqlite_url
from services.nodes.storage.registry import RegistryStore
from services.nodes.storage.tables import metadata
from tests.support.postgres import drop_tables
from tests.unit.nodes.sample import new_nodes
from walt.contracts import settings
from walt.contracts.checks import FAIL, OK
from walt.contracts.errors import Failed
from walt.contracts.limits import UNLIMITED, LimitsChange, UserLimits
from walt.contracts.nodes import Event
from walt.contracts.settings import NodeConfig, parse_settings
from walt.contracts.vmrunner import BOOTED, VmReport

ROOT = Path(__file__).parents[3]
CONFIG = NodeConfig(**parse_settings(["networks=walt-net,home-net[lat=10ms]", "disks=1G,2G[template=ext4]"]))
BOOTS = 40
BOOT_MANY_TIMES = f"""
import sys
from services.nodes.domain import model
from services.nodes.storage.registry import RegistryStore

store = RegistryStore(sys.argv[1])
for _ in range({BOOTS}):
    with store.transaction() as registry:
        (node,) = registry.nodes()
        registry.save(model.changed(node, boot=node.boot + 1))
"""


ATTEMPTS = 500
CREATE_MANY_TIMES = f"""
import sys
import time
from services.nodes.commands import node_commands
from services.nodes.domain.creation import NodeRequest
from services.nodes.domain.model import RequestContext
from services.nodes.storage.registry import RegistryStore
from tests.unit.nodes.sample import POOL
from walt.contracts.errors import LimitReached
from walt.contracts.limits import UserLimits
from walt.contracts.settings import NodeConfig

url, name = sys.argv[1:]
store = RegistryStore(url, limits=UserLimits(nodes=1))
for _ in range({ATTEMPTS}):
    try:
        with store.transaction() as registry:
            bob = registry.accounts.of("bob").id
            context = RequestContext("bob", 1.0, account=bob)
            made = node_commands.create(registry, context, NodeRequest((name,), NodeConfig()), POOL, {{}})
        time.sleep(0.002)  # so that the other comes in between
        with store.transaction() as registry:
            assert registry.names(bob) == [name], registry.names(bob)
            registry.delete(made.nodes[0].id)
        print("created")
    except LimitReached:
        print("refused")
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    return request.getfixturevalue("postgres").url


@pytest.fixture
def empty_url(url):
    """Without any table."""
    if url.startswith("postgresql"):
        drop_tables(url)
    return url


@pytest.fixture
def store(url):
    one = RegistryStore(url)
    with one.transaction() as registry:
        for node in registry.nodes():
            registry.delete(node.id)
        (new,) = new_nodes(NodeRequest(("n",), CONFIG))
        registry.save(new)
    yield one
    one.close()


def test_a_commit_to_a_slow_disk_stops_no_other_call(tmp_path):
    database, turns = Database(sqlite_url(tmp_path)), []
    blocking_sleep = eventlet.patcher.original("time").sleep
    ticking = tasks.spawn(lambda: [(turns.append(None), tasks.sleep(0.01)) for _ in range(100)])
    with database.transaction() as connection:
        driver = connection.connection.driver_connection
        driver.set_trace_callback(lambda sql: blocking_sleep(0.5) if sql == "COMMIT" else None)
        before = len(turns)
    assert len(turns) > before + 5
    ticking.kill()
    database.close()


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
        report = VmReport(node.id, "n", "h", 1, 1, time.time_ns(), BOOTED, 9.0, "it answers", "ssh-answers")
        reconcile.apply_report(registry, report, 9.0)
    with store.transaction() as registry:
        (node,) = registry.nodes()
        status = node.status
        assert (status.state, status.sequence, status.cause) == (BOOTED, report.sequence, "ssh-answers")
        assert registry.events.of(["n"], EventQuery(0.0, 0, 9))[-1].text == "booted: it answers"


EARLIER_CONFIGS = {
    "old": ({"ram": "1G", "networks": "walt-net"}, NodeConfig(ram_bytes=2**30)),
    "new": (settings.show_settings(CONFIG), CONFIG),
    "none": (
        {"boot.delay": "random", "boot.timeout": "none", "netsetup": "NAT", "disks": "none"},
        NodeConfig(boot_delay_s=None, boot_timeout_s=None, netsetup="NAT"),
    ),
}


@pytest.mark.parametrize("revision", ["0001", "0005"])
def test_migration_keeps_the_nodes_of_earlier_versions(empty_url, revision):
    """As texts in the settings grammar, which was stored before."""
    write_nodes_of(revision, empty_url)
    store = RegistryStore(empty_url)
    with store.transaction() as registry:
        found = {node.name: node for node in registry.nodes()}
        assert {name: node.config for name, node in found.items()} == {
            name: config for name, (_, config) in EARLIER_CONFIGS.items()
        }
        assert {(node.boot, node.version, node.hard, node.status.cause) for node in found.values()} == {
            (3, 4, False, "")
        }
        assert {node.name: registry.save(node) for node in found.values()} == found
    store.close()


@pytest.mark.parametrize("revision", ["0001", "0005"])
def test_fault_s32_each_owner_of_earlier_versions_gets_an_account(empty_url, revision):
    write_nodes_of(revision, empty_url)
    if revision == "0005":
        write_event(empty_url, node="gone", owner="bob")
    store = RegistryStore(empty_url)
    with store.transaction() as registry:
        alice, eve = registry.accounts.present("alice"), registry.accounts.present("eve")
        found = registry.nodes()
        assert {node.owner_account for node in found} == {alice.id} and eve is None
        networks = {one.network.name: one.network for node in found for one in node.interfaces}
        assert networks["home-net"].owner == "alice"
        more = registry.save(replace(found[0], id=0, name="more", ip="10.0.0.99", config=CONFIG, disks=()))
        assert more.interfaces[1].network == networks["home-net"]
        if revision == "0005":
            assert registry.events.of([], EventQuery(0.0, 0, 9), registry.accounts.of("bob").id)[0].node == "gone"
    store.close()


def test_accounts_of_earlier_versions_have_no_limits_and_new_ones_those_of_all(empty_url):
    write_nodes_of("0005", empty_url)
    allowed = UserLimits(nodes=7)
    store = RegistryStore(empty_url, limits=allowed)
    with store.transaction() as registry:
        assert registry.accounts.limits(registry.accounts.of("alice").id) == UNLIMITED
        bob = registry.accounts.of("bob").id
        assert registry.accounts.limits(bob) == allowed
        registry.accounts.change_limits(bob, LimitsChange({"nodes": None, "images": 1}))
        registry.accounts.change_limits(bob, LimitsChange({}, frozenset({"nodes"})))
        assert registry.accounts.limits(bob) == replace(allowed, images=1)
    store.close()


def test_users_who_race_for_the_last_of_a_limit_never_pass_it(store, url):
    """Two processes, each of which tries ATTEMPTS times to have two nodes where one is allowed."""
    with store.transaction() as registry:
        registry.accounts.of("bob")
    argv = [sys.executable, "-c", CREATE_MANY_TIMES, url]
    processes = [subprocess.Popen([*argv, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
    had = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    counts = Counter(one for of_process in had for one in of_process)
    assert set(counts) == {"created", "refused"} and counts.total() == 2 * ATTEMPTS
    assert counts["refused"] > 0


def write_event(url, **values):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        row = {"at": 1.0, "user": "bob", "kind": "remove", "text": "", **values}
        connection.execute(sa.insert(tables.tables["events"]).values(row))
    engine.dispose()


def write_nodes_of(revision, url):
    """The database of an earlier version, with one node for each of EARLIER_CONFIGS."""
    engine = sa.create_engine(url)
    values = {"host": "h", "owner": "alice", "power": "on", "boot": 3, "version": 4, "image": "default", "since": 1.0}
    values |= {"state": "booted", "reason": "", "reported_boot": 3, "reported_sequence": 9}
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = sa.MetaData()
        tables.reflect(connection)
        for number, (name, (texts, config_now)) in enumerate(EARLIER_CONFIGS.items(), 1):
            row = {**values, "name": name, "ip": f"10.0.0.{number}", "config": texts}
            connection.execute(sa.insert(tables.tables["nodes"]).values(row))
            for place, use in enumerate(config_now.networks):
                network = None
                if use.name != "walt-net":
                    network = connection.execute(
                        sa.insert(tables.tables["networks"]).values(owner="alice", name=use.name)
                    ).inserted_primary_key[0]
                mac = f"52:54:00:00:{number:02}:{place:02}"
                port = {"node_id": number, "network": use.name, "mac": mac, "network_id": network}
                connection.execute(sa.insert(tables.tables["ports"]).values(port))
    engine.dispose()


def test_two_processes_at_once_lose_nothing(store, url):
    argv = [sys.executable, "-c", BOOT_MANY_TIMES, url]
    for process in [subprocess.Popen(argv, cwd=ROOT) for _ in range(2)]:
        assert process.wait(60) == 0
    with store.transaction() as registry:
        assert registry.nodes()[0].boot == 1 + 2 * BOOTS


def test_waiting_for_a_lock_of_postgresql_stops_nobody_else(postgres):
    first, second = RegistryStore(postgres.url), RegistryStore(postgres.url)
    with first.transaction():
        waiting = tasks.spawn(check_database, second)  # another process: it has locks of its own
        turns = 0
        while turns < 20 and not waiting.is_over:
            tasks.sleep(0.01)
            turns += 1
        assert turns == 20
    assert waiting.wait().status == OK
    first.close()
    second.close()


def test_server_that_was_restarted_is_used_again(postgres):
    store = RegistryStore(postgres.url)
    with store.transaction() as registry:
        identity = registry.identity
    postgres.stop()
    with pytest.raises(Failed, match="the database of the registry cannot be used: "), store.transaction():
        pass
    assert check_database(store).status == FAIL
    postgres.start()
    with store.transaction() as registry:
        assert registry.identity == identity
    assert check_database(store).status == OK
    store.close()


def test_sqlite_without_space_is_reported_and_nothing_is_lost(tmp_path):
    store = RegistryStore(sqlite_url(tmp_path))
    with pytest.raises(Failed, match="cannot be used: database or disk is full"), store.transaction() as registry:
        registry._connection.exec_driver_sql("PRAGMA max_page_count = 1")
        registry.events.add([Event(0, 1.0, "n", "alice", "alice", "config", "x" * 100_000)])
    with store.transaction() as registry:
        assert registry.events.names(["n"]) == set()
    store.close()


def test_other_databases_are_refused():
    with pytest.raises(Failed, match="WALT_DATABASE_URL is of mssql; allowed: sqlite, postgresql"):
        Database("mssql://host/walt")
