"""nodes, to which every command and event comes twice, late and out of order: each command is done once, and the state
of a node is what its agent has said last."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from nameko.messaging import QueueConsumer

from tests.support.hostile_delivery import SETTLED_S, hostile
from walt.client import Client
from walt.configuration import parse_configuration
from walt.contracts.errors import Conflict, WaltError
from walt.contracts.vmrunner import BOOTED, BOOTING, DELAYING


@pytest.fixture(params=[1, 2])
def unlucky(running, request):
    """The service as a new process would be, all whose messages meet this fate."""
    running.start_all()
    running.forget_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QueueConsumer, "handle_message", hostile(request.param))
        running.restart()
    yield running
    running.restart()


@pytest.fixture
def alice(unlucky, user_uri):
    with Client(lambda: parse_configuration(f'amqp_uri = "{user_uri("alice")}"', Path("mine"))) as client:
        yield client


def test_fault_each_command_is_done_once(unlucky, alice):
    last = max((event["id"] for event in alice.call("nodes", "get_events")), default=0)
    alice.call("nodes", "create_nodes", names=["a", "b"])
    boot = unlucky.spec("a").boot
    for _ in range(4):
        alice.call("nodes", "reboot_nodes", selection="a")
    alice.call("nodes", "stop_nodes", selection="b")
    alice.call("nodes", "start_nodes", selection="b")
    alice.call("nodes", "rename_node", name="a", new_name="c")
    with pytest.raises(Conflict):
        alice.call("nodes", "create_nodes", names=["c"])
    alice.call("nodes", "remove_nodes", selection="c", force=True)
    time.sleep(SETTLED_S)
    kinds = Counter(event["kind"] for event in alice.call("nodes", "get_events", selection="a,b,c", after=last))
    assert (kinds["create"], kinds["reboot"], kinds["stop"], kinds["start"], kinds["remove"]) == (2, 4, 1, 1, 1)
    assert unlucky.spec("c").boot == boot + 4
    assert [one["name"] for one in alice.call("nodes", "get_nodes", selection="my-nodes")] == ["b"]
    assert unlucky.spec("b").power == "on"


def test_no_command_is_refused_since_it_was_done(unlucky, alice):
    chance, made = random.Random(1), set[str]()
    for _ in range(12):
        name = f"n{chance.randrange(4)}"
        try:
            if name in made:
                alice.call("nodes", "remove_nodes", selection=name, force=True)
                made.remove(name)
            else:
                alice.call("nodes", "create_nodes", names=[name])
                made.add(name)
        except WaltError as refused:
            pytest.fail(f"{name}: {refused}")
        time.sleep(0.3)  # addresses of removed nodes are free again after a while
    time.sleep(SETTLED_S)
    assert {one["name"] for one in alice.call("nodes", "get_nodes", selection="my-nodes")} == made


def test_the_state_is_the_last_that_was_reported(unlucky, alice):
    alice.call("nodes", "create_nodes", names=["a"])
    for sequence, state in enumerate([DELAYING, BOOTING, BOOTED, BOOTING, DELAYING, BOOTING, BOOTED], 1):
        unlucky.send(unlucky.report("a", state, sequence, reason=f"report {sequence}"))
    time.sleep(2 * SETTLED_S)
    (view,) = alice.call("nodes", "get_nodes", selection="a")
    assert (view["state"], view["reason"]) == (BOOTED, "report 7")
