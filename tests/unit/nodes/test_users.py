"""Accounts at the broker: which of them are users, who may do what to them, and which passwords are taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.contracts.errors import Conflict, Denied, InvalidRequest, NotFound
from services.contracts.nodes import UserView
from services.contracts.rights import ADMINISTRATOR, USER
from services.nodes import model, users
from services.nodes.users import Account
from tests.unit.nodes.test_rules import NODE

ROOT = Account("root", frozenset({USER, ADMINISTRATOR}))
ALICE = Account("alice", frozenset({USER}))
BROKERS = Account("guest", frozenset({"administrator"}))
HALF = Account("half", frozenset({ADMINISTRATOR}))  # was made by somebody else


def test_new_accounts():
    assert (users.new_account("root", True), users.new_account("alice", False)) == (ROOT, ALICE)
    with pytest.raises(InvalidRequest):
        users.new_account("walt-services", False)


@pytest.mark.parametrize("account", [None, ALICE, BROKERS, HALF])
def test_who_is_no_administrator(account):
    users.check_administrator("root", ROOT)
    with pytest.raises(Denied):
        users.check_administrator("x", account)


@pytest.mark.parametrize("account", [None, BROKERS, HALF])
def test_account_that_is_no_users_is_not_touched(account):
    assert users.check_user("alice", ALICE) == ALICE
    with pytest.raises(NotFound):
        users.check_user("x", account)
    for owned, force in (([], False), ([], True)):
        with pytest.raises(NotFound):
            users.check_removable("x", "root", account, owned, force)


def test_a_user_with_nodes_is_removed_by_force_only_and_nobody_removes_himself():
    users.check_removable("alice", "root", ALICE, [], False)
    users.check_removable("alice", "root", ALICE, [NODE], True)
    users.check_removable("alice", "root", None, [NODE], True)  # its removal was cut off
    with pytest.raises(Conflict, match=r"user 'alice' owns nodes \(n\)"):
        users.check_removable("alice", "root", ALICE, [NODE], False)
    with pytest.raises(NotFound):
        users.check_removable("alice", "root", None, [NODE], False)
    with pytest.raises(Conflict, match="'root' is you"):
        users.check_removable("root", "root", ROOT, [], True)


@pytest.mark.parametrize("text", ["x" * 12, "x" * 128, "é" * 12, "with blanks in it"])
def test_password(text):
    assert users.check_password(text) == text


@pytest.mark.parametrize("text", ["", "x" * 11, "x" * 129, "x" * 12 + "\n", "x" * 12 + "\0"])
def test_password_that_is_refused_is_not_repeated(text):
    with pytest.raises(InvalidRequest, match="12 to 128 characters") as refused:
        users.check_password(text)
    assert not text or text not in str(refused.value)


def test_list_of_users():
    gone, others = model.removed(replace(NODE, name="gone")), replace(NODE, name="a")
    assert users.views([ROOT, ALICE], [NODE, gone, others], {"root"}) == [
        UserView("alice", False, ("a", "n"), False),
        UserView("root", True, (), True),
    ]


def test_rights_are_renewed_of_users_that_have_others():
    bob, new = Account("bob", frozenset({USER})), Account("new", frozenset({USER}))
    wanted = {"alice": 1, "bob": 1, "new": 1}
    assert users.outdated([ALICE, bob, new, BROKERS], {"alice": 1, "bob": 0, "guest": 0}, wanted) == ["bob", "new"]
