"""Answers of commands are kept with what they changed, bounded for each account, and given again."""

from dataclasses import replace

import pytest

from services.kit.bus.repetitions import CallId
from services.nodes.commands.once import Once
from services.nodes.domain import answers, model
from services.nodes.domain.answers import ANSWERS_KEPT, FORGOTTEN_AFTER_S, KEYS_KEPT, NOT_KEPT, AnsweredBefore
from services.nodes.domain.creation import NodeRequest
from services.nodes.storage.database import sqlite_url
from services.nodes.storage.registry import RegistryStore
from tests.unit.nodes.sample import new_nodes
from walt.contracts.errors import Conflict, Failed, NeedsForce, WaltError
from walt.contracts.nodes import Changed, NewPassword, Owner
from walt.contracts.settings import NodeConfig

CALL = CallId("ada", "k")


@pytest.fixture
def store(tmp_path):
    one = RegistryStore(sqlite_url(tmp_path))
    yield one
    one.close()


def kept(store, account, key):
    """The text; None for one that never came."""
    try:
        with store.transaction() as registry:
            registry.answers.check_new(account, key)
    except AnsweredBefore as before:
        return before.text
    return None


def put(store, account, *keys, now=1000.0):
    with store.transaction() as registry:
        for key in keys:
            registry.answers.put(account, key, "text", now)


def test_result_is_given_again_as_json():
    assert answers.given_again(answers.text_of(Changed((), ("a note",)))) == {"nodes": [], "notes": ["a note"]}
    assert answers.given_again(answers.text_of([Owner("ada", "1")])) == [{"name": "ada", "account": "1"}]
    assert answers.given_again(answers.text_of(None)) is None


@pytest.mark.parametrize("error", [Conflict("one", "two"), NeedsForce("vda holds data"), Failed("away")])
def test_error_is_given_again_with_its_class_and_sentences(error):
    with pytest.raises(type(error)) as met:
        answers.given_again(answers.text_of(error))
    assert met.value.args == error.args and type(met.value) is type(error)


def test_an_answer_about_many_nodes_takes_little_room(store):
    with store.transaction() as registry:
        view = model.view(registry.save(new_nodes(NodeRequest(("a",), NodeConfig()))[0]))
    views = [replace(view, name=f"n{number}", ip=f"10.77.{number}.7") for number in range(700)]
    assert len(answers.text_of(Changed(tuple(views)))) < 20_000


def test_beyond_the_bounds_the_oldest_go_and_no_others(store):
    put(store, "bob", "first")
    put(store, "ada", *(f"k{number}" for number in range(KEYS_KEPT + 1)))
    assert kept(store, "ada", "k0") is None
    assert kept(store, "ada", "k1") == kept(store, "ada", f"k{KEYS_KEPT - ANSWERS_KEPT}") == NOT_KEPT
    assert kept(store, "ada", f"k{KEYS_KEPT - ANSWERS_KEPT + 1}") == kept(store, "bob", "first") == "text"


def test_old_ones_are_forgotten(store):
    put(store, "ada", "old", now=1000.0)
    put(store, "ada", "new", now=1001.0)
    store.prune(1000.5 + FORGOTTEN_AFTER_S)
    assert (kept(store, "ada", "old"), kept(store, "ada", "new")) == (None, "text")


class Counted:
    def __init__(self, result):
        self.result, self.times = result, 0

    def act(self, _caller):
        self.times += 1
        if isinstance(self.result, WaltError):
            raise self.result
        return self.result


def test_a_refused_command_is_refused_when_it_comes_again(store):
    once, command = Once(store), Counted(Conflict("the name is taken"))
    for _ in range(2):
        with pytest.raises(Conflict, match="taken"):
            once.run(CALL, command.act)
    assert command.times == 1


def test_a_command_that_failed_is_tried_when_it_comes_again(store):
    once, command = Once(store), Counted(Failed("the database cannot be used"))
    for _ in range(2):
        with pytest.raises(Failed):
            once.run(CALL, command.act)
    assert command.times == 2


def test_a_command_that_changes_more_than_the_registry_is_begun_once(store):
    once, command = Once(store), Counted(["disk-1"])
    assert once.begin(CALL, command.act) == once.begin(CALL, command.act) == ["disk-1"]
    assert once.begin(CallId("ada"), command.act) and once.begin(CallId("bob", "k"), command.act)
    assert command.times == 3


def test_one_that_was_interrupted_is_not_begun_again(store):
    once, command = Once(store), Counted(None)
    with pytest.raises(ZeroDivisionError):
        once.begin(CALL, lambda _: 1 / 0)
    with pytest.raises(Failed, match="was begun; its answer is not kept"):
        once.begin(CALL, command.act)
    assert command.times == 0


def test_a_password_is_not_kept(store):
    once, command = Once(store), Counted(NewPassword("ada", "secret"))
    assert once.begin(CALL, command.act).password == "secret"
    with pytest.raises(Failed, match="its answer is not kept"):
        once.begin(CALL, command.act)
    with store.transaction() as registry:
        account = registry.accounts.of("ada").id
    assert command.times == 1 and kept(store, account, "k") == NOT_KEPT
