"""The history of a registry: what agents have obeyed is in it or not, ids are never given again, an administrator
decides."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace

import pytest

from services.nodes.commands import dispute, node_commands, run_command
from services.nodes.domain import history
from services.nodes.domain.creation import NodeRequest
from services.nodes.domain.history import EPOCHS_KEPT, FIRST_MOMENT, SKIPPED_BITS, is_known
from services.nodes.domain.model import RequestContext
from services.nodes.storage.database import sqlite_url
from services.nodes.storage.registry import RegistryStore
from tests.unit.nodes.sample import ALICE, new_nodes
from walt.contracts.errors import Conflict
from walt.contracts.nodes import Revision
from walt.contracts.settings import NodeConfig

NOW = FIRST_MOMENT + 50_000_000.0
AGENT = "vmrunner@lab"


def test_what_is_of_a_history():
    epochs = {"a": 10, "b": 12, "accepted": None}
    known = [Revision("a", 10), Revision("b", 0), Revision("accepted", 10**9)]
    unknown = [Revision("a", 11), Revision("c", 1), Revision("", 1)]
    assert all(is_known(one, epochs) for one in known) and not any(is_known(one, epochs) for one in unknown)


def test_ids_of_a_new_epoch_begin_with_the_time_and_never_go_back():
    assert history.first_id(7, NOW) == 50_000_000
    assert history.first_id(60_000_000, NOW) == 60_000_000  # a clock that was set back
    assert history.first_id(7, 0.0) == 7


def test_a_restored_registry_begins_its_ids_at_a_place_drawn_by_lot():
    """The lost one may have given a thousand within a second."""
    assert history.id_after_loss(7, NOW, lambda bits: 2**bits - 1) == 50_000_000 + 2**SKIPPED_BITS - 1
    assert 2**31 - history.id_after_loss(7, NOW, lambda bits: 0) > 100 * 2**SKIPPED_BITS


class World:
    """A registry in a folder, of which copies are made and put back."""

    def __init__(self, folder):
        self.folder, self.now = folder, NOW
        self.start()

    def start(self):
        self.store = RegistryStore(sqlite_url(self.folder / "state"))
        self.now += 100.0
        self.store.begin_epoch(self.now)

    def copy(self, name):
        with sqlite3.connect(self.folder / "state/registry.db") as connection:
            connection.execute("VACUUM INTO ?", (str(self.folder / name),))

    def restore(self, name):
        self.store.close()
        shutil.rmtree(self.folder / "state")
        (self.folder / "state").mkdir()
        shutil.copy(self.folder / name, self.folder / "state/registry.db")
        self.start()

    def create(self, *names):
        with self.store.transaction() as registry:
            taken = {node.ip for node in registry.nodes()}
            context = replace(ALICE, account=registry.accounts.of(ALICE.user).id)
            new = new_nodes(NodeRequest(names, NodeConfig()), taken, context)
            return [registry.save(node).id for node in new]

    def give_ids(self, count):
        with self.store.transaction() as registry:
            registry.history.changed()
            return {registry.history.new_id() for _ in range(count)}

    def revision(self):
        with self.store.transaction() as registry:
            return registry.history.revision

    def check(self, obeyed, agent=AGENT, identity=None):
        with self.store.transaction() as registry:
            return dispute.check(registry, agent, identity or registry.identity, obeyed, self.now)

    def disputes(self):
        with self.store.transaction() as registry:
            return [one.agent for one in registry.history.disputes()]

    def accept(self):
        with self.store.transaction() as registry:
            return dispute.accept(registry, "root", self.now)


@pytest.fixture
def world(tmp_path):
    one = World(tmp_path)
    yield one
    one.store.close()


def test_each_transaction_that_agents_are_to_obey_is_one_change(world):
    before = world.revision()
    world.create("a", "b")
    assert world.revision() == Revision(before.epoch, before.sequence + 1)
    with world.store.transaction() as registry:
        (a, b) = registry.nodes()
        registry.save_status(a)
    assert world.revision().sequence == before.sequence + 1
    with world.store.transaction() as registry:
        registry.delete(b.id)
        assert [spec.revision.sequence for spec in registry.specs([a])] == [before.sequence + 2]


def test_restarts_go_on_in_the_same_history(world):
    world.create("a")
    obeyed = world.revision()
    world.store.close()
    world.start()
    world.create("b")
    assert world.check(obeyed) == world.revision() and world.disputes() == []
    world.store.close()
    for _ in range(3):
        world.start()
        world.store.close()
    world.start()
    assert world.check(obeyed) == world.revision() != obeyed


def test_fault_s11_a_restored_registry_does_not_know_what_came_after_the_backup(world):
    world.create("a")
    world.copy("backup")
    kept = world.revision()
    world.create("b")
    obeyed = world.revision()
    world.restore("backup")
    for name in "cdefg":  # its sequence is soon beyond what was obeyed
        world.create(name)
    assert world.revision().sequence > obeyed.sequence
    assert world.check(obeyed) is None and world.disputes() == [AGENT]
    assert world.check(kept, "bootserver") == world.revision() and world.disputes() == [AGENT]


def test_fault_s11_ids_are_not_used_again_after_a_restore(world):
    world.create("a")
    world.copy("backup")
    lost = world.create(*(f"n{number}" for number in range(5)))
    world.restore("backup")
    new = world.create(*(f"m{number}" for number in range(5)))
    assert min(new) > max(lost)


def test_fault_s11_nor_are_those_of_a_busy_registry_that_was_restored_at_once_and_accepted(world):
    world.copy("backup")
    lost = world.give_ids(1000)
    obeyed = world.revision()
    world.restore("backup")
    world.check(obeyed)
    world.accept()
    assert not world.give_ids(1000) & lost


def test_nothing_is_changed_until_an_administrator_decides(world):
    world.copy("backup")
    world.create("b")
    obeyed = world.revision()
    world.restore("backup")
    world.create("c")
    world.check(obeyed)

    def stop():
        context = RequestContext("alice", world.now, force=False)
        return run_command.run(world.store, lambda volumes: None, node_commands.stop, context, "c", False)

    with pytest.raises(Conflict, match="not the one that vmrunner@lab last obeyed.*walt registry accept"):
        stop()
    assert world.accept() == [AGENT]
    assert [node.power for node in stop().nodes] == ["off"]
    assert world.check(obeyed) == world.revision()
    with pytest.raises(Conflict, match="nothing to decide"):
        world.accept()


def test_the_newer_database_put_back_ends_the_dispute(world):
    world.copy("backup")
    world.create("b")
    obeyed = world.revision()
    world.copy("newer")
    world.restore("backup")
    assert world.check(obeyed) is None
    world.restore("newer")
    assert world.check(obeyed) == world.revision() and world.disputes() == []


def test_what_was_accepted_once_does_not_hide_the_next_restore(world):
    world.copy("first")
    world.create("b")
    obeyed = world.revision()
    world.restore("first")
    world.check(obeyed)
    world.accept()
    world.copy("second")
    world.create("c")
    obeyed = world.revision()
    world.restore("second")
    assert world.check(obeyed) is None


def test_a_database_exchanged_under_a_running_nodes_is_noticed_and_can_be_accepted(world):
    """As PostgreSQL allows: the epoch is the same."""
    obeyed = Revision(world.revision().epoch, world.revision().sequence + 5)
    assert world.check(obeyed) is None
    world.accept()
    assert world.check(obeyed) == world.revision()


def test_another_registry_is_a_dispute_too(world):
    assert world.check(Revision("e", 3), identity="r0") is None
    assert world.check(Revision(), "console@lab", identity="r0") is None  # written by a version before
    assert world.accept() == ["console@lab", AGENT]
    assert world.check(Revision("e", 3), identity="r0") and world.check(Revision(), "console@lab", identity="r0")


def test_epochs_are_kept_in_a_bounded_number(world):
    with world.store.transaction() as registry:
        for number in range(EPOCHS_KEPT + 5):
            registry.history.begin_epoch(world.now + number)
        assert registry._connection.exec_driver_sql("SELECT count(*) FROM epochs").scalar() == EPOCHS_KEPT
