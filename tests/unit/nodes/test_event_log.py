"""The events of commands and reports, and how the database keeps them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain import event_texts, model
from services.nodes.domain.accounts import Account
from services.nodes.domain.event_texts import Action, EventQuery
from services.nodes.domain.model import Node, RequestContext, Status
from services.nodes.storage.database import sqlite_url
from services.nodes.storage.registry import RegistryStore
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Event
from walt.contracts.settings import NodeConfig, parse_settings
from walt.contracts.vmrunner import BOOTED, DELAYING, FAILED, VmReport

NODE = Node("n", "h", "alice", "default", "10.0.0.2", NodeConfig(), Status(DELAYING, 5.0, "", 2, 5), id=1, boot=2)
FREE = replace(NODE, owner="")
BOB = RequestContext("bob", 9.0)
ALL = EventQuery(0.0, 0, 100)


def logged(action, before, after):
    events = event_texts.of_command(action, [before], [after])
    return [(event.node, event.owner, event.user, event.kind, event.text) for event in events]


def test_command_is_one_event_of_its_time():
    action = Action("config", RequestContext("alice", 9.5), "ram=2G")
    new = model.changed(NODE, config=replace(NODE.config, ram_bytes=2**31))
    assert event_texts.of_command(action, [NODE], [new]) == [Event(0, 9.5, "n", "alice", "alice", "config", "ram=2G")]


def test_node_that_is_as_before_has_no_event():
    other = replace(NODE, id=2, name="m")
    action = Action("config", BOB)
    assert [one.node for one in event_texts.of_command(action, [NODE, other], [NODE, replace(other, version=3)])] == [
        "m"
    ]


def test_creation_is_of_its_owner():
    new = replace(NODE, id=0)
    assert logged(Action("create", RequestContext("alice", 1.0)), new, NODE) == [("n", "alice", "alice", "create", "")]


def test_acquired_node_is_of_the_new_owner_and_a_released_one_of_the_former():
    assert logged(Action("acquire", BOB), FREE, model.acquired(FREE, BOB)) == [("n", "bob", "bob", "acquire", "")]
    alice = RequestContext("alice", 1.0)
    assert logged(Action("release", alice), NODE, model.released(NODE, alice)) == [
        ("n", "alice", "alice", "release", "")
    ]


def test_takeover_is_of_the_former_owner_and_names_the_new_one():
    event = logged(Action("acquire", BOB), NODE, model.acquired(NODE, BOB))
    assert event == [("n", "alice", "bob", "takeover", "from alice to bob")]


def test_new_name_is_told_under_both():
    events = logged(Action("rename", RequestContext("alice", 1.0)), NODE, replace(NODE, name="web"))
    assert events == [("n", "alice", "alice", "rename", "to web"), ("web", "alice", "alice", "rename", "from n")]


def report(state, reason="", cause="", since=5.0, boot=2):
    return VmReport(1, "n", "h", boot, 1, 6, state, since, reason, cause)


def transition(cause, new):
    before = replace(NODE, status=replace(NODE.status, reason="9 s left", cause=cause))
    events = event_texts.transition(before, model.reported(before, new), now=70.0)
    return [(event.at, event.text) for event in events]


@pytest.mark.parametrize(
    ("cause", "new", "events"),
    [
        ("", report(BOOTED, "ssh answers after 3.2 s", since=66.5), [(66.5, "booted: ssh answers after 3.2 s")]),
        ("reboot", report(BOOTED, "", "reboot", since=66.5), [(66.5, "booted")]),
        ("reboot", report(DELAYING, "8 s left", "reboot"), []),
        ("reboot", report(DELAYING, "waits for memory", "no-memory"), [(70.0, "delaying: waits for memory")]),
        ("reboot", report(DELAYING, "same", "reboot", boot=3, since=60.0), [(60.0, "delaying: same")]),
        ("", report(DELAYING, "waits for memory", "no-memory"), []),  # the report before was of an older agent
        ("reboot", report(DELAYING, "waits for memory", ""), []),  # this one is
        ("", report(FAILED, "no qemu; next try in 2 s", "", 60.0), [(60.0, "failed: no qemu; next try in 2 s")]),
    ],
)
def test_transition(cause, new, events):
    assert transition(cause, new) == events


def test_texts_of_settings_parse_back():
    texts = ["ram=2G", "networks=walt-net,home-net[lat=10ms]"]
    assert event_texts.settings_text(parse_settings(texts)) == " ".join(texts)
    config = NodeConfig(**parse_settings(["cpu.cores=2", "boot.delay=random"]))
    assert event_texts.creation_text("debian", config) == "image=debian cpu.cores=2"
    assert event_texts.link_text("home-net", ["lat=1ms"], True) == "home-net lat=1ms (else plain)"


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1.5", "1e3", "٣"])
def test_number_of_events_kept_is_checked(text):
    with pytest.raises(InvalidRequest, match="WALT_EVENTS_KEPT"):
        event_texts.events_kept(text)


# --- kept -------------------------------------------------------------------------------------------------------


ALICE = Account("alice-1", "alice", 0.0)


def event(at, node="n", owner="alice", user="alice", kind="config", text="", account=""):
    return Event(0, float(at), node, owner, user, kind, text, account or f"{owner}-1")


@pytest.fixture
def store(tmp_path):
    one = RegistryStore(sqlite_url(tmp_path), events_kept=3)
    yield one
    one.close()


def test_limit_is_of_the_newest_or_of_the_next(store):
    with store.transaction() as registry:
        registry.events.add([event(at) for at in range(1, 6)])
        registry.events.add([])
        newest = registry.events.of(["n"], EventQuery(0.0, 0, 2))
        assert [one.at for one in newest] == [4.0, 5.0]
        after = registry.events.of(["n"], EventQuery(0.0, newest[0].id - 3, 2))
        assert [one.at for one in after] == [2.0, 3.0]
        assert [one.at for one in registry.events.of(["n"], EventQuery(3.5, 0, 9))] == [4.0, 5.0]
        assert registry.events.of(["other"], ALL) == []


def test_owner_sees_also_what_was_his(store):
    with store.transaction() as registry:
        former = event(4, "a", account="alice-0")
        registry.events.add([event(1, "a"), event(2, "a", owner="bob"), event(3, "b", owner="bob"), former])
        assert [one.at for one in registry.events.of([], ALL, ALICE.id)] == [1.0]
        assert [one.at for one in registry.events.of(["b"], ALL, ALICE.id)] == [1.0, 3.0]
        assert registry.events.names(["a", "zz"]) == {"a"}


def test_notices_are_commands_of_others(store):
    with store.transaction() as registry:
        registry.events.add(
            [
                event(1, user="bob", kind="takeover"),
                event(5, user="bob", kind="takeover"),
                event(6),
                event(7, user="", kind="state"),
                event(8, owner="bob", user="bob"),
                event(9, user="bob", kind="takeover", account="alice-0"),
            ]
        )
        assert [one.at for one in registry.events.by_others(ALICE, since=2.0)] == [5.0]


def test_only_the_newest_are_kept(store):
    with store.transaction() as registry:
        registry.events.add([event(at) for at in range(3)])
    store.prune(0.0)
    with store.transaction() as registry:
        assert len(registry.events.of(["n"], ALL)) == 3
        registry.events.add([event(at) for at in range(3, 8)])
    store.prune(0.0)
    store.prune(0.0)
    with store.transaction() as registry:
        assert [one.at for one in registry.events.of(["n"], ALL)] == [5.0, 6.0, 7.0]


def test_events_of_a_command_that_fails_are_not_there(store):
    with pytest.raises(ZeroDivisionError), store.transaction() as registry:
        registry.events.add([event(1)])
        raise ZeroDivisionError
    with store.transaction() as registry:
        assert registry.events.of(["n"], ALL) == []


@pytest.mark.parametrize(
    ("counts", "kept", "each"), [([3, 9], 8, 5), ([1, 1], 8, 1), ([], 8, 0), ([9, 9, 9], 8, 2), ([2, 2, 90], 8, 4)]
)
def test_shares_of_the_log(counts, kept, each):
    assert event_texts.kept_of_each(counts, kept) == each
    assert sum(min(count, each) for count in counts) <= kept


def test_fault_s41_one_user_does_not_push_the_events_of_another_out(tmp_path):
    store = RegistryStore(sqlite_url(tmp_path), events_kept=10)
    with store.transaction() as registry:
        registry.events.add([Event(0, 1.0, "hers", "alice", "alice", "create", "", "account-a")] * 3)
        registry.events.add([Event(0, float(at), "his", "bob", "bob", "config", "", "account-b") for at in range(99)])
    store.prune(0.0)
    with store.transaction() as registry:
        assert len(registry.events.of(["hers"], ALL)) == 3
        assert [event.at for event in registry.events.of(["his"], ALL)] == list(range(92, 99))
    store.close()
