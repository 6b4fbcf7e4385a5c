"""What the log says of commands and reports, and how the database keeps it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.contracts.errors import InvalidRequest, NotFound
from services.contracts.nodes import Event
from services.contracts.settings import NodeConfig, parse_settings
from services.contracts.vmrunner import BOOTED, DELAYING, FAILED, VmReport
from services.nodes import arguments, journal, model
from services.nodes.database import sqlite_url
from services.nodes.journal import Deed, Query
from services.nodes.model import Asked, Node, Status
from services.nodes.selection import select_names
from services.nodes.store import Store

NODE = Node("n", "h", "alice", "default", "10.0.0.2", NodeConfig(), Status(DELAYING, 5.0, "", 2, 5), id=1, boot=2)
FREE = replace(NODE, owner="")
BOB = Asked("bob", 9.0)
ALL = Query(0.0, 0, 100)


def told(deed, before, after):
    return [(one.node, one.owner, one.user, one.kind, one.text) for one in journal.entries(deed, [before], [after])]


def test_command_is_one_event_of_its_time():
    deed = Deed("config", Asked("alice", 9.5), "ram=2G")
    new = model.changed(NODE, config=replace(NODE.config, ram_bytes=2**31))
    assert journal.entries(deed, [NODE], [new]) == [Event(0, 9.5, "n", "alice", "alice", "config", "ram=2G")]


def test_node_that_is_as_before_has_no_event():
    other = replace(NODE, id=2, name="m")
    deed = Deed("config", BOB)
    assert [one.node for one in journal.entries(deed, [NODE, other], [NODE, replace(other, version=3)])] == ["m"]


def test_creation_is_of_its_owner():
    new = replace(NODE, id=0)
    assert told(Deed("create", Asked("alice", 1.0)), new, NODE) == [("n", "alice", "alice", "create", "")]


def test_acquired_node_is_of_the_new_owner_and_a_released_one_of_the_former():
    assert told(Deed("acquire", BOB), FREE, model.acquired(FREE, BOB)) == [("n", "bob", "bob", "acquire", "")]
    alice = Asked("alice", 1.0)
    assert told(Deed("release", alice), NODE, model.released(NODE, alice)) == [("n", "alice", "alice", "release", "")]


def test_takeover_is_of_the_former_owner_and_names_the_new_one():
    event = told(Deed("acquire", BOB), NODE, model.acquired(NODE, BOB))
    assert event == [("n", "alice", "bob", "takeover", "from alice to bob")]


def test_new_name_is_told_under_both():
    events = told(Deed("rename", Asked("alice", 1.0)), NODE, replace(NODE, name="web"))
    assert events == [("n", "alice", "alice", "rename", "to web"), ("web", "alice", "alice", "rename", "from n")]


def report(state, reason="", since=5.0, boot=2):
    return VmReport(1, "n", "h", boot, 1, 6, state, since, reason)


def transition(reason, new):
    before = replace(NODE, status=replace(NODE.status, reason=reason))
    return [(one.at, one.text) for one in journal.transition(before, model.reported(before, new), now=70.0)]


@pytest.mark.parametrize(
    ("reason", "new", "event"),
    [
        ("", report(BOOTED, "ssh answers after 3.2 s", 66.5), [(66.5, "booted: ssh answers after 3.2 s")]),
        ("", report(BOOTED, "", 66.5), [(66.5, "booted")]),
        ("reboot asked; boots in 9 s", report(DELAYING, "reboot asked; boots in 8 s"), []),
        ("same", report(DELAYING, "same", boot=3, since=60.0), [(60.0, "delaying: same")]),
        ("reboot asked", report(DELAYING, "waits for memory"), [(70.0, "delaying: waits for memory")]),
        ("", report(FAILED, "no qemu; next try in 2 s", 60.0), [(60.0, "failed: no qemu; next try in 2 s")]),
    ],
)
def test_transition(reason, new, event):
    assert transition(reason, new) == event


def test_words_of_settings_parse_back():
    texts = ["ram=2G", "networks=walt-net,home-net[lat=10ms]"]
    assert journal.settings_text(parse_settings(texts)) == " ".join(texts)
    config = NodeConfig(**parse_settings(["cpu.cores=2", "boot.delay=random"]))
    assert journal.creation_text("debian", config) == "image=debian cpu.cores=2"
    assert journal.link_text("home-net", ["lat=1ms"], True) == "home-net lat=1ms (else plain)"


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1.5", "1e3", "٣"])
def test_number_of_events_kept_is_checked(text):
    with pytest.raises(InvalidRequest, match="WALT_EVENTS_KEPT"):
        journal.events_kept(text)


@pytest.mark.parametrize(
    "values",
    [
        ("x", 0, 1),
        (True, 0, 1),
        (float("nan"), 0, 1),
        (float("inf"), 0, 1),
        (-1, 0, 1),
        (2**53, 0, 1),
        (0, -1, 1),
        (0, 2**63, 1),
        (0, 1.0, 1),
        (0, 0, 0),
        (0, 0, 10_001),
        (0, 0, None),
    ],
)
def test_query_of_any_kind_is_refused_with_a_sentence(values):
    with pytest.raises(InvalidRequest, match="allowed: "):
        arguments.event_query(*values)


def test_query_is_taken_from_its_first_to_its_last_values():
    assert arguments.event_query(0, 0, 1) == Query(0.0, 0, 1)
    assert arguments.event_query(2**53 - 1, 2**63 - 1, 10_000) == Query(2.0**53 - 1, 2**63 - 1, 10_000)


def test_names_for_the_log_may_be_of_nodes_that_are_gone():
    nodes = [NODE, replace(NODE, id=2, name="m", owner="bob")]
    assert select_names("GONE,my-nodes,m", nodes, {"gone"}, "alice") == ["gone", "n", "m"]
    assert select_names("gone", nodes, {"gone"}, "alice") == ["gone"]
    with pytest.raises(NotFound, match="no node 'never'"):
        select_names("gone,never", nodes, {"gone"}, "alice")


# --- kept -------------------------------------------------------------------------------------------------------


def event(at, node="n", owner="alice", user="alice", kind="config", text=""):
    return Event(0, float(at), node, owner, user, kind, text)


@pytest.fixture
def store(tmp_path):
    one = Store(sqlite_url(tmp_path), events_kept=3)
    yield one
    one.close()


def test_limit_is_of_the_newest_or_of_the_next(store):
    with store.transaction() as registry:
        registry.events.add([event(at) for at in range(1, 6)])
        registry.events.add([])
        newest = registry.events.of(["n"], Query(0.0, 0, 2))
        assert [one.at for one in newest] == [4.0, 5.0]
        after = registry.events.of(["n"], Query(0.0, newest[0].id - 3, 2))
        assert [one.at for one in after] == [2.0, 3.0]
        assert [one.at for one in registry.events.of(["n"], Query(3.5, 0, 9))] == [4.0, 5.0]
        assert registry.events.of(["other"], ALL) == []


def test_owner_sees_also_what_was_his(store):
    with store.transaction() as registry:
        registry.events.add([event(1, "a"), event(2, "a", owner="bob"), event(3, "b", owner="bob")])
        assert [one.at for one in registry.events.of([], ALL, owner="alice")] == [1.0]
        assert [one.at for one in registry.events.of(["b"], ALL, owner="alice")] == [1.0, 3.0]
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
            ]
        )
        assert [one.at for one in registry.events.by_others("alice", since=2.0)] == [5.0]


def test_only_the_newest_are_kept(store):
    with store.transaction() as registry:
        registry.events.add([event(at) for at in range(3)])
    store.prune_events()
    with store.transaction() as registry:
        assert len(registry.events.of(["n"], ALL)) == 3
        registry.events.add([event(at) for at in range(3, 8)])
    store.prune_events()
    store.prune_events()
    with store.transaction() as registry:
        assert [one.at for one in registry.events.of(["n"], ALL)] == [5.0, 6.0, 7.0]


def test_events_of_a_command_that_fails_are_not_there(store):
    with pytest.raises(ZeroDivisionError), store.transaction() as registry:
        registry.events.add([event(1)])
        raise ZeroDivisionError
    with store.transaction() as registry:
        assert registry.events.of(["n"], ALL) == []
