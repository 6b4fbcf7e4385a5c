"""The registry in SQLite: its schema, its constraints, and what is read of it by name and by owner."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.nodes.commands import queries
from services.nodes.domain.creation import NodeRequest
from services.nodes.domain.event_texts import EventQuery
from services.nodes.domain.model import Node, NodeSummary
from services.nodes.storage.database import Database, sqlite_url
from services.nodes.storage.registry import RegistryStore
from services.nodes.storage.tables import metadata
from tests.unit.nodes.sample import ALICE, NODE, new_nodes
from walt.contracts.errors import Conflict, InvalidRequest, NotFound
from walt.contracts.nodes import Event
from walt.contracts.settings import NodeConfig

BOB = "bob-1"


@pytest.fixture
def store(tmp_path):
    one = RegistryStore(sqlite_url(tmp_path))
    yield one
    one.close()


@pytest.fixture
def stored(store):
    """Nodes a and c of alice, b of bob, f free, gone of alice and wanted absent; another host has h."""
    with store.transaction() as registry:
        new = new_nodes(NodeRequest(("c", "a", "b", "f", "gone", "h"), NodeConfig()))
        changes = {
            "b": {"owner": "bob", "owner_account": BOB},
            "f": {"owner": "", "owner_account": ""},
            "gone": {"power": "absent"},
            "h": {"host": "other"},
        }
        for node in new:
            registry.save(replace(node, **changes.get(node.name, {})))
    return store


def names(nodes):
    return [node.name for node in nodes]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all-nodes", ["a", "b", "c", "f", "h"]),
        ("my-nodes", ["a", "c", "h"]),
        ("free-nodes", ["f"]),
        ("b,my-nodes,B", ["b", "a", "c", "h"]),
        ("c,a", ["c", "a"]),
        ("c,all-nodes", ["c", "a", "b", "f", "h"]),
    ],
)
def test_node_set(stored, text, found):
    with stored.transaction() as registry:
        assert names(queries.select_nodes(registry, text, ALICE.account)) == found


def test_unknown_names_are_refused_with_the_nearest_name(stored):
    with stored.transaction() as registry:
        with pytest.raises(NotFound) as refused:
            queries.select_nodes(registry, "gone,a,aa,my-nodes", ALICE.account)
        assert refused.value.args == ("no node 'gone'", "no node 'aa' (did you mean a?)")
        with pytest.raises(NotFound, match="no node 'gone'$"):
            queries.find_node(registry, "gone")
        with pytest.raises(InvalidRequest, match="is a node set"):
            queries.find_node(registry, "my-nodes")
        assert queries.find_node(registry, "A").name == "a"


def test_events_are_found_by_the_names_of_nodes_that_are_gone(stored):
    with stored.transaction() as registry:
        registry.events.add([Event(0, 1.0, name, "bob", "bob", "config", "", BOB) for name in ("gone", "b", "a")])
        every = EventQuery(0.0, 0, 100)
        assert [one.node for one in queries.events(registry, ALICE.account, "GONE,b", every)] == ["gone", "b"]
        assert [one.node for one in queries.events(registry, ALICE.account, "gone,my-nodes", every)] == ["gone", "a"]
        assert [one.node for one in queries.events(registry, ALICE.account, None, every)] == ["a"]
        assert [one.node for one in queries.events(registry, BOB, None, every)] == ["gone", "b", "a"]
        with pytest.raises(NotFound, match="no node 'never'"):
            queries.events(registry, ALICE.account, "gone,never", every)


def test_specs_are_of_one_host_or_of_all_and_say_of_which_registry(stored):
    with stored.transaction() as registry:
        every, other = queries.specs(registry), queries.specs(registry, "other")
        assert names(every.nodes) == ["c", "a", "b", "f", "gone", "h"] and names(other.nodes) == ["h"]
        assert {spec.registry for spec in every.nodes} == {registry.identity} == {other.registry}


def test_names_owners_and_summaries_are_of_present_nodes(stored):
    with stored.transaction() as registry:
        assert (registry.names(), registry.names(ALICE.account)) == (["a", "b", "c", "f", "h"], ["a", "c", "h"])
        assert registry.owners(["b", "f", "gone", "x"]) == {"b": "bob", "f": ""}
        assert registry.summaries()[1] == NodeSummary("b", "bob", "default", "h", "delaying")
        assert len(registry.summaries()) == 5 and len(registry.ips()) == 6


def test_node_is_found_by_its_mac_and_its_address(stored):
    with stored.transaction() as registry:
        node = registry.named("a")
        assert registry.with_mac(node.mac) == registry.with_ip(node.ip) == node
        assert registry.with_mac("52:54:00:00:00:00") is None and registry.named("gone") is None


def test_migrations_lead_to_the_tables(tmp_path):
    database = Database(sqlite_url(tmp_path))
    with database.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


@pytest.mark.parametrize("same", ["name", "ip"])
def test_database_itself_refuses_a_second_one(tmp_path, same):
    store = RegistryStore(sqlite_url(tmp_path))
    with store.transaction() as registry:
        registry.save(new_nodes(NodeRequest(("n",), NodeConfig()))[0])
    other = {"name": "m", "ip": "10.0.0.9", same: {"name": "n", "ip": "10.0.0.2"}[same]}
    second = Node(host="h", owner="bob", image="default", config=NodeConfig(), status=NODE.status, **other)
    with pytest.raises(Conflict), store.transaction() as registry:
        registry.save(second)
    with store.transaction() as registry:
        assert [node.name for node in registry.nodes()] == ["n"]
    store.close()


def test_error_rolls_everything_back(tmp_path):
    store = RegistryStore(sqlite_url(tmp_path))
    with pytest.raises(ZeroDivisionError), store.transaction() as registry:
        registry.save(new_nodes(NodeRequest(("n",), NodeConfig()))[0])
        raise ZeroDivisionError
    with store.transaction() as registry:
        assert registry.nodes() == []
    store.close()


def test_database_keeps_foreign_keys_and_wal(tmp_path):
    database = Database(sqlite_url(tmp_path))
    with database.transaction() as connection:
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
    database.close()
