"""A backup of the platform, put back where there is nothing: in SQLite and in PostgreSQL, and at a real RabbitMQ."""

from __future__ import annotations

import time

import pytest

from deploy import backup
from services.nodes.domain.creation import NodeRequest
from services.nodes.domain.event_texts import EventQuery
from services.nodes.storage import dump
from services.nodes.storage.database import sqlite_url
from services.nodes.storage.registry import RegistryStore
from services.nodes.users import restored
from tests.service.nodes.people import ADMIN, do
from tests.support.postgres import drop_tables
from tests.unit.nodes.sample import new_nodes
from walt.contracts.errors import Conflict, Denied, InvalidRequest, NotFound
from walt.contracts.nodes import Event
from walt.contracts.settings import NodeConfig, parse_settings

CONFIG = NodeConfig(**parse_settings(["networks=walt-net,home-net[lat=10ms]", "disks=1G,2G[template=ext4]"]))


@pytest.fixture
def empty(request, tmp_path):
    """empty(kind) -> the URL of a database without any table; a new one each time for SQLite."""

    def url(kind):
        if kind == "sqlite":
            return sqlite_url(tmp_path / "new")
        found = request.getfixturevalue("postgres").url
        drop_tables(found)
        return found

    return url


def store_with(url, name, ip="10.0.0.9"):
    store = RegistryStore(url)
    store.begin_epoch(1.0)
    with store.transaction() as registry:
        (new,) = new_nodes(NodeRequest((name,), CONFIG))
        registry.save(new)
        registry.accounts.of("alice")
        registry.events.add([Event(0, 1.0, name, "alice", "alice", "create", "")])
    return store


def content(store):
    with store.transaction() as registry:
        return registry.identity, registry.history.revision, registry.nodes(), registry.accounts.present("alice")


@pytest.mark.parametrize("before", ["sqlite", "postgresql"])
@pytest.mark.parametrize("after", ["sqlite", "postgresql"])
def test_what_is_restored_is_what_was_saved(before, after, empty, tmp_path):
    url = sqlite_url(tmp_path / "old") if before == "sqlite" else empty("postgresql")
    store = store_with(url, "n")
    packed = backup.pack(backup.make(url, [], {"a": "b"}))  # while the registry is open: its WAL is not lost
    saved = content(store)
    store.close()

    new = empty(after)
    found = backup.unpack(packed)
    backup.put_back(found, new, tmp_path / "state", replace=False)
    store = RegistryStore(new)
    assert content(store) == saved and found.files == {"a": "b"}
    with store.transaction() as registry:
        registry.events.add([Event(0, 2.0, "n", "alice", "alice", "stop", "")])  # numbers go on behind those restored
        assert [one.kind for one in registry.events.of(["n"], EventQuery(0.0, 0, 9))] == ["create", "stop"]
    store.close()


def test_ids_given_since_the_backup_are_not_given_again(tmp_path):
    url = sqlite_url(tmp_path)
    store_with(url, "n").close()
    saved = backup.make(url, [], {})
    ids = [new_ids(url, 1000)]
    for _ in range(2):
        backup.put_back(saved, url, tmp_path, replace=True)
        ids.append(new_ids(url, 1000))
    assert len(set.union(*map(set, ids))) == 3000


def new_ids(url, count):
    store = RegistryStore(url)
    store.begin_epoch(time.time())
    with store.transaction() as registry:
        found = [registry.history.new_id() for _ in range(count)]
    store.close()
    return found


def test_a_backup_is_of_one_moment_and_stops_nobody(tmp_path):
    url = sqlite_url(tmp_path)
    store = store_with(url, "n")
    with store.transaction() as registry:  # a command is under way
        registry.save(registry.named("n").__class__(**{**vars(registry.named("n")), "name": "m"}))
        assert [row["name"] for row in dump.read(url).tables["nodes"]] == ["n"]
    assert [row["name"] for row in dump.read(url).tables["nodes"]] == ["m"]
    store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_registry_is_replaced_by_force_only_and_as_a_whole(kind, empty, tmp_path):
    url = empty(kind)
    store_with(url, "n").close()
    saved = backup.make(url, [], {})
    store = RegistryStore(url)
    with store.transaction() as registry:
        registry.delete(registry.named("n").id)
    store.close()
    with pytest.raises(Conflict, match="there is a registry already; allowed: a platform without one, or --force"):
        backup.put_back(saved, url, tmp_path, replace=False)
    broken = dump.Dump(saved.registry.revision, {**saved.registry.tables, "nodes": [{"id": 1}]})
    with pytest.raises(Exception, match="database of the registry"):
        dump.write(url, broken, replace=True)
    assert dump.read(url).tables["nodes"] == []  # as before
    backup.put_back(saved, url, tmp_path, replace=True)
    assert [row["name"] for row in dump.read(url).tables["nodes"]] == ["n"]


@pytest.mark.parametrize("text", [b"", b"hello", backup.pack(backup.Backup(1.0, dump.Dump("0001", {}), (), {}))[:-9]])
def test_what_is_no_whole_backup_is_refused(text):
    with pytest.raises(InvalidRequest, match="no backup of walt, or not a whole one"):
        backup.unpack(text)


def test_where_there_is_no_registry_nothing_is_saved(tmp_path):
    with pytest.raises(NotFound):
        dump.read(sqlite_url(tmp_path))
    assert not (tmp_path / "registry.db").exists()


def test_users_log_in_with_the_passwords_of_before(service, admin, login, api, tmp_path):
    password = do(admin, "add_user", name="carol")["password"]
    packed = backup.pack(backup.make(service.app.store._database._engine.url.render_as_string(), api.stored(), {}))
    do(admin, "remove_user", name="carol")
    with pytest.raises(Exception):  # noqa: B017, PT011  whatever a client says to a refused login
        login("carol", password).call("nodes.get_notices")
    users = backup.unpack(packed).users
    assert {one.name for one in users} == {ADMIN, "carol"}  # none of the platform's own

    file = service.app.accounts._restored._path
    restored.write(file, users)
    assert file.stat().st_mode & 0o777 == 0o600
    service.stop()
    service.start()
    service.app.accounts.renew()
    assert not file.exists()
    with pytest.raises(
        Denied
    ):  # with rights as any user: he is in the registry as removed, which was not put back here
        do(login("carol", password), "get_notices")
