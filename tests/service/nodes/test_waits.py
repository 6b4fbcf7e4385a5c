"""wait_nodes: the answer comes with a change, and nothing is read before it."""

from __future__ import annotations

import contextlib
import time

import pytest

from services.kit import tasks
from services.kit.bus.shares import WATCHING_OF_ONE_USER
from services.nodes.storage import database
from tests.service.nodes.world import HOST
from tests.support.amqp_user import AmqpUser
from tests.support.wait import wait_until
from walt.contracts.errors import NotFound
from walt.contracts.vmrunner import BOOTED, BOOTING

PROMPTLY_S = 2.0


@pytest.fixture
def begin(platform):
    """begin("vnode1", seen): a task of alice that waits; it has a connection of its own."""
    with contextlib.ExitStack() as stack:

        def begin(selection: str, seen: str) -> tasks.Task:
            user = stack.enter_context(contextlib.closing(AmqpUser(platform.user_uri("alice"))))
            task = tasks.spawn(user.call, "nodes.wait_nodes", selection, seen)
            stack.callback(task.kill)
            return task

        yield begin


def waiting(platform):
    return platform.app.store.watches.by_node


def transactions():
    return database.TRANSACTIONS.labels("committed")._value.get()


def test_an_answer_comes_with_the_next_change_and_costs_nothing_before(platform, begin):
    platform.call("alice", "create_nodes", ["vnode1", "other"])
    first = platform.call("alice", "wait_nodes", "vnode1")
    assert [one["name"] for one in first["nodes"]] == ["vnode1"]
    task = begin("vnode1", first["seen"])
    wait_until(lambda: waiting(platform))
    before = transactions()
    tasks.sleep(1.5)
    assert transactions() == before
    platform.apply(platform.report("other", BOOTING))
    assert waiting(platform) and not task.is_over
    at = time.monotonic()
    platform.send(platform.report("vnode1", BOOTED))
    found = task.wait()
    assert [one["state"] for one in found["nodes"]] == [BOOTED] and time.monotonic() - at < PROMPTLY_S
    assert found["seen"] != first["seen"] and not waiting(platform)


def test_what_has_changed_since_is_told_at_once(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    seen = platform.call("alice", "wait_nodes", "vnode1")["seen"]
    platform.apply(platform.report("vnode1", BOOTED))
    assert platform.call("alice", "wait_nodes", "vnode1", seen)["nodes"][0]["state"] == BOOTED


def test_a_removed_node_ends_the_wait(platform, begin):
    platform.call("alice", "create_nodes", ["vnode1"])
    task = begin("vnode1", platform.call("alice", "wait_nodes", "vnode1")["seen"])
    wait_until(lambda: waiting(platform))
    platform.call("alice", "remove_nodes", "vnode1")
    with pytest.raises(NotFound):
        task.wait()


def test_a_host_that_does_not_answer_any_more_is_news(platform, begin):
    platform.call("alice", "create_nodes", ["vnode1"])
    task = begin("vnode1", platform.call("alice", "wait_nodes", "vnode1")["seen"])
    wait_until(lambda: waiting(platform))
    platform.app.hosts._seen_at[HOST] = time.monotonic() - 60
    try:
        assert task.wait()["nodes"][0]["state"] == "unreachable"
    finally:
        platform.app.hosts._seen_at[HOST] = time.monotonic()


def test_who_waits_too_often_is_answered_at_once(platform, begin):
    platform.call("alice", "create_nodes", ["vnode1"])
    seen = platform.call("alice", "wait_nodes", "vnode1")["seen"]
    platform.app.waits._waiting["alice"] += WATCHING_OF_ONE_USER
    try:
        assert begin("vnode1", seen).wait()["seen"] == seen
    finally:
        platform.app.waits._waiting.clear()


def test_waits_take_no_turn_from_other_calls(platform, begin):
    platform.call("alice", "create_nodes", ["vnode1"])
    seen = platform.call("alice", "wait_nodes", "vnode1")["seen"]
    for _ in range(25):  # more than all calls that may run
        begin("vnode1", seen)
    wait_until(lambda: sum(map(len, waiting(platform).values())) == 25)
    at = time.monotonic()
    assert platform.state("vnode1") and platform.call("bob", "get_nodes", "vnode1")
    assert time.monotonic() - at < PROMPTLY_S


def test_a_restart_hands_them_to_the_next_process(platform, begin):
    platform.call("alice", "create_nodes", ["vnode1"])
    seen = platform.call("alice", "wait_nodes", "vnode1")["seen"]
    task = begin("vnode1", seen)
    wait_until(lambda: waiting(platform))
    at = time.monotonic()
    platform.restart()
    assert time.monotonic() - at < 15, "it waits for nobody"
    assert task.wait()["seen"] != seen
