"""Accounts in the registry: each has an id of its own, and one command at a time changes one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain.accounts import CLAIM_S, check_unclaimed
from services.nodes.domain.creation import NodeRequest
from services.nodes.storage.database import sqlite_url
from services.nodes.storage.registry import RegistryStore
from tests.unit.nodes.sample import ALICE, new_nodes
from walt.contracts.errors import Conflict, Denied
from walt.contracts.settings import NodeConfig, parse_settings


@pytest.fixture
def store(tmp_path):
    one = RegistryStore(sqlite_url(tmp_path))
    yield one
    one.close()


@pytest.fixture
def bob(store):
    """The account of a user whom the broker had before."""
    with store.transaction() as registry:
        return registry.accounts.of("bob")


def claim(store, name="bob"):
    with store.transaction() as registry:
        return registry.accounts.claim(name)


def end(store, claimed):
    with store.transaction() as registry:
        registry.accounts.end(claimed)


def present(store, name="bob"):
    with store.transaction() as registry:
        return registry.accounts.present(name)


def test_account_is_entered_once(store, bob):
    with store.transaction() as registry:
        assert registry.accounts.of("bob") == registry.accounts.present("bob") == bob
        assert registry.accounts.present("eve") is None


def test_fault_s32_name_that_is_used_again_is_of_another_account(store, bob):
    end(store, claim(store))
    with store.transaction() as registry, pytest.raises(Denied, match="the account 'bob' was removed"):
        registry.accounts.of("bob")
    added = claim(store)
    assert added.is_new
    with store.transaction() as registry:
        registry.accounts.settle_as_new(added)
    assert present(store) == added.account and added.account.id != bob.id


def test_fault_s32_what_is_left_of_an_account_at_the_broker_is_not_given_to_the_next(store, bob):
    """Its removal was cut off: the broker has it no more, and an administrator adds it."""
    added = claim(store)
    with store.transaction() as registry:
        registry.accounts.settle_as_new(added)
    assert present(store).id != bob.id
    claim(store)  # is possible: nothing is claimed any more


def test_fault_s32_networks_of_the_same_name_are_of_one_account(store):
    """A node that is wanted absent keeps its network until its host has removed it."""
    config = NodeConfig(**parse_settings(["networks=walt-net,home-net"]))
    with store.transaction() as registry:
        (first,) = new_nodes(NodeRequest(("n",), config))
        first = registry.save(replace(first, power="absent"))
        (second,) = new_nodes(NodeRequest(("n",), config), context=replace(ALICE, account="alice-2"))
        second = registry.save(replace(second, ip="10.0.0.3"))
    networks = [node.interfaces[1].network for node in (first, second)]
    assert [(one.name, one.owner) for one in networks] == [("home-net", "alice")] * 2
    assert networks[0].id != networks[1].id


def test_fault_s39_one_command_at_a_time_claims_an_account(store):
    first = claim(store)
    with pytest.raises(Conflict, match="another command is changing the account 'bob' at this moment"):
        claim(store)
    with store.transaction() as registry:
        registry.accounts.settle(first)
    assert claim(store).account == first.account


def test_fault_s39_claim_that_was_cut_off_passes_to_the_next(store, monkeypatch):
    first = claim(store)
    monkeypatch.setattr("time.time", lambda: 2**33)
    second = claim(store)
    for done in ("settle", "end"):
        with pytest.raises(Conflict, match="at the same moment"), store.transaction() as registry:
            getattr(registry.accounts, done)(first)
    with store.transaction() as registry:
        registry.accounts.abandon(first)
        registry.accounts.settle(second)
    assert present(store) == first.account


@pytest.mark.parametrize(("age_s", "is_free"), [(0, False), (CLAIM_S - 1, False), (CLAIM_S, True), (-3600, True)])
def test_age_of_a_claim(age_s, is_free):
    check_unclaimed("bob", "", 1000.0, 1000.0)
    if is_free:
        check_unclaimed("bob", "token", 1000.0, 1000.0 + age_s)
    else:
        with pytest.raises(Conflict):
            check_unclaimed("bob", "token", 1000.0, 1000.0 + age_s)


def test_command_that_fails_leaves_the_account_as_it_was(store, bob):
    new, known = claim(store, "eve"), claim(store)
    with store.transaction() as registry:
        registry.accounts.abandon(new)
        registry.accounts.abandon(known)
    assert (present(store, "eve"), present(store)) == (None, bob)
    claim(store)
