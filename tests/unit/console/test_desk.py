from dataclasses import replace
from types import SimpleNamespace

from services.console import desk as module
from services.console.desk import Desk
from services.contracts import wire
from tests.unit.vmrunner.sample import WANTED


def node(version, owner):
    return replace(WANTED, version=version, owner=owner)


def test_owners_follow_what_is_newest(monkeypatch):
    owners = []
    desk = Desk.__new__(Desk)
    desk._wanted, desk._host = {}, "lab1"
    desk._registry = SimpleNamespace(check=lambda: None)
    desk.lines = SimpleNamespace(ids=lambda: {WANTED.id}, change_owner=lambda _, owner: owners.append(owner))
    desk.sessions = SimpleNamespace(change_owner=lambda one: None)
    desk.change_owner(node(9, "alice"))
    desk.change_owner(node(8, "bob"))
    assert owners == ["alice"], "a late event changes nothing"
    monkeypatch.setattr(module.peers, "call", lambda *_, **__: [wire.dump(node(5, "bob"))])
    desk._reconcile()
    assert owners == ["alice", "bob"], "a registry of yesterday is the registry"

    def meanwhile(*_, **__):
        desk.change_owner(node(7, "carol"))
        return [wire.dump(node(6, "bob"))]

    monkeypatch.setattr(module.peers, "call", meanwhile)
    desk._reconcile()
    assert owners[-1] == "carol", "the answer is older than what was heard after the question"
