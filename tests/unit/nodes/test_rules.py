"""The pure rules of the registry: reports, allocation, repair; and its schema."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from services.contracts.errors import Conflict, InvalidRequest, NotFound
from services.contracts.settings import NodeConfig
from services.contracts.vmrunner import BOOTED, DELAYING, VmReport
from services.nodes import allocation, model, reconcile
from services.nodes.creation import Place, Wish, new_nodes, parse
from services.nodes.database import MIGRATIONS, Database, sqlite_url
from services.nodes.model import Asked, Node, Status
from services.nodes.store import Store
from services.nodes.tables import metadata

NODE = Node("n", "h", "alice", "default", "10.0.0.2", NodeConfig(), Status(DELAYING, 0.0, "", 2, 5), id=1, boot=2)
ALICE = Asked("alice", 1.0)
WISH, PLACE = Wish(("n",), NodeConfig()), Place("h", "10.0.0.0/28")


def report(boot=2, sequence=6, host="h"):
    return VmReport(1, "n", host, boot, 1, sequence, BOOTED, 9.0, "why")


@pytest.mark.parametrize(
    ("one", "taken_in"),
    [
        (report(), True),
        (report(boot=3, sequence=1), True),
        (report(sequence=5), False),
        (report(sequence=4), False),
        (report(boot=1, sequence=9), False),
        (report(host="other"), False),
    ],
)
def test_report(one, taken_in):
    new = model.reported(NODE, one)
    assert (new.status.state == BOOTED) is taken_in and (new is NODE) is not taken_in
    assert model.reported(new, one) is new


def test_report_of_a_node_wanted_absent_changes_nothing():
    gone = model.removed(NODE)
    assert model.reported(gone, report()) is gone


def test_reboot_counts_a_boot_and_says_so_in_one_step():
    new = model.rebooted(NODE, ALICE, hard=False)
    assert (new.boot, new.version, new.status.state) == (NODE.boot + 1, NODE.version + 1, DELAYING)
    assert new.status.reason == "reboot asked by alice"
    assert model.reported(new, report(boot=NODE.boot, sequence=99)) is new


def test_lowest_address_skips_the_server_and_the_taken():
    assert next(allocation.free_addresses("192.168.172.0/22", [])) == "192.168.172.2"
    free = allocation.free_addresses("10.0.0.0/29", ["10.0.0.2", "10.0.0.4"])
    assert [next(free), next(free)] == ["10.0.0.3", "10.0.0.5"]
    with pytest.raises(Conflict, match="10.0.0.0/29"):
        next(free)


def test_mac_that_is_taken_is_drawn_again():
    drawn = iter([1, 1, 2])
    assert allocation.new_mac({"52:54:00:00:00:01"}, lambda bits: next(drawn)) == "52:54:00:00:00:02"


def test_creation_tells_all_faults():
    wish = parse(["A", "a", "-", "n"], ["ram=x", "y=1"], "h", {}, "nix", [NotFound("no image 'nix'")])
    with pytest.raises(InvalidRequest) as refused:
        new_nodes(wish, [NODE], PLACE, ALICE)
    assert [one.partition(";")[0] for one in refused.value.args] == [
        "'-' is not a node name",
        "'a' is given twice",
        "'x' is not a value for ram",
        "'y' is not a setting",
        "no image 'nix'",
        "the name 'n' is taken by a node of alice",
    ]
    with pytest.raises(NotFound):
        new_nodes(replace(wish, refusals=wish.refusals[1:]), [NODE], PLACE, ALICE)


def test_name_of_a_node_wanted_absent_is_free_but_its_address_is_not():
    (node,) = new_nodes(WISH, [model.removed(NODE)], PLACE, ALICE)
    assert node.ip == "10.0.0.3"


def test_gap_between_wishes_and_host():
    absent = model.removed(NODE)
    assert reconcile.compare([NODE], [report()]) == reconcile.Gap([], [])
    assert reconcile.compare([NODE], [report(boot=1)]) == reconcile.Gap([1], [])
    assert reconcile.compare([NODE], []) == reconcile.Gap([1], [])
    assert reconcile.compare([absent], [report()]) == reconcile.Gap([1], [])
    assert reconcile.compare([absent], []) == reconcile.Gap([], [1])


def test_migrations_lead_to_the_tables(tmp_path):
    database = Database(sqlite_url(tmp_path))
    with database.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


@pytest.mark.parametrize("same", ["name", "ip"])
def test_database_itself_refuses_a_second_one(tmp_path, same):
    store = Store(sqlite_url(tmp_path))
    with store.transaction() as registry:
        registry.save(new_nodes(WISH, [], PLACE, ALICE)[0])
    other = {"name": "m", "ip": "10.0.0.9", same: {"name": "n", "ip": "10.0.0.2"}[same]}
    second = Node(host="h", owner="bob", image="default", config=NodeConfig(), status=NODE.status, **other)
    with pytest.raises(Conflict), store.transaction() as registry:
        registry.save(second)
    with store.transaction() as registry:
        assert [node.name for node in registry.nodes()] == ["n"]
    store.close()


def test_error_rolls_everything_back(tmp_path):
    store = Store(sqlite_url(tmp_path))
    with pytest.raises(ZeroDivisionError), store.transaction() as registry:
        registry.save(new_nodes(WISH, [], PLACE, ALICE)[0])
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


def test_migration_keeps_the_nodes_of_before(tmp_path):
    url = sqlite_url(tmp_path)
    engine = sa.create_engine(url)
    values = {"name": "n", "host": "h", "owner": "alice", "power": "on", "boot": 3, "version": 4, "image": "default"}
    values |= {"ip": "10.0.0.2", "config": '{"ram": "1G", "networks": "walt-net"}', "state": "booted", "since": 1.0}
    values |= {"reason": "", "reported_boot": 3, "reported_sequence": 9}
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        columns, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        connection.execute(sa.text(f"INSERT INTO nodes ({columns}) VALUES ({places})"), values)
        connection.execute(sa.text("INSERT INTO ports VALUES (1, 'walt-net', '52:54:00:00:00:01', NULL)"))
    engine.dispose()
    store = Store(url)
    with store.transaction() as registry:
        (node,) = registry.nodes()
    store.close()
    assert (node.name, node.boot, node.config.ram_bytes, node.disks, node.hard) == ("n", 3, 2**30, (), False)
