"""Accounts at the broker: which of them are users, who may do what to them, and which passwords are taken."""

from __future__ import annotations

import pytest

from services.nodes.domain.model import NodeSummary
from services.nodes.users import rules
from services.nodes.users.rules import BrokerAccount
from walt.contracts.broker_permissions import ADMINISTRATOR, USER
from walt.contracts.errors import Conflict, Denied, InvalidRequest, NeedsForce, NotFound
from walt.contracts.nodes import UserView

ROOT = BrokerAccount("root", frozenset({USER, ADMINISTRATOR}))
ALICE = BrokerAccount("alice", frozenset({USER}))
BROKERS = BrokerAccount("guest", frozenset({"administrator"}))
HALF = BrokerAccount("half", frozenset({ADMINISTRATOR}))  # was made by somebody else


def test_new_accounts():
    assert (rules.new_account("root", True), rules.new_account("alice", False)) == (ROOT, ALICE)
    with pytest.raises(InvalidRequest):
        rules.new_account("walt-services", False)


@pytest.mark.parametrize("account", [None, ALICE, BROKERS, HALF])
def test_who_is_no_administrator(account):
    rules.check_administrator("root", ROOT)
    with pytest.raises(Denied):
        rules.check_administrator("x", account)


@pytest.mark.parametrize("account", [None, BROKERS, HALF])
def test_account_that_is_no_users_is_not_touched(account):
    assert rules.check_user("alice", ALICE) == ALICE
    with pytest.raises(NotFound):
        rules.check_user("x", account)
    for owned, force in (([], False), ([], True)):
        with pytest.raises(NotFound):
            rules.check_removable("x", "root", account, owned, force)


def test_a_user_with_nodes_is_removed_by_force_only_and_nobody_removes_himself():
    rules.check_removable("alice", "root", ALICE, [], False)
    rules.check_removable("alice", "root", ALICE, ["n"], True)
    rules.check_removable("alice", "root", None, ["n"], True)  # its removal was cut off
    with pytest.raises(NeedsForce, match=r"user 'alice' owns nodes \(n\)"):
        rules.check_removable("alice", "root", ALICE, ["n"], False)
    with pytest.raises(NotFound):
        rules.check_removable("alice", "root", None, ["n"], False)
    with pytest.raises(Conflict, match="'root' is you"):
        rules.check_removable("root", "root", ROOT, [], True)


@pytest.mark.parametrize("text", ["x" * 12, "x" * 128, "é" * 12, "with blanks in it"])
def test_password(text):
    assert rules.check_password(text) == text


@pytest.mark.parametrize("text", ["", "x" * 11, "x" * 129, "x" * 12 + "\n", "x" * 12 + "\0"])
def test_password_that_is_refused_is_not_repeated(text):
    with pytest.raises(InvalidRequest, match="12 to 128 printable characters") as refused:
        rules.check_password(text)
    assert not text or text not in str(refused.value)


def test_list_of_users():
    nodes = [NodeSummary(name, "alice", "default", "h", "booted") for name in ("n", "a")]
    assert rules.views([ROOT, ALICE], nodes, {"root"}) == [
        UserView("alice", False, ("a", "n"), False),
        UserView("root", True, (), True),
    ]


def test_rights_are_renewed_of_users_that_have_others():
    wanted = {"alice": 1, "bob": 1, "new": 1}
    assert rules.outdated({"alice": 1, "bob": 0, "guest": 0}, wanted) == ["bob", "new"]
