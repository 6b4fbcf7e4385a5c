from dataclasses import replace

import pytest

from services.console import requests
from walt.contracts.errors import Conflict, Denied
from walt.contracts.nodes import NodeTarget
from walt.contracts.vmrunner import CAUSE_NO_ANSWER

TARGET = NodeTarget(1, "vnode1", "alice", "lab1", "192.168.172.2", "delaying")


@pytest.mark.parametrize("queue", ["user.bob.x", "user.alice", "alice", "", "user.alicea.x", "nodes.x"])
def test_foreign_queue_is_denied(queue):
    with pytest.raises(Denied, match="user.alice."):
        requests.check_queue("alice", queue)


def test_own_queue_is_allowed():
    assert requests.check_queue("alice", "user.alice.1") == "user.alice.1"


def test_node_of_another_host():
    with pytest.raises(Conflict, match="vnode1 lives on host lab1"):
        requests.check_host(TARGET, "lab2")


def test_node_that_is_not_booted_names_its_state():
    with pytest.raises(Conflict, match="vnode1 is delaying"):
        requests.check_booted(TARGET)


def test_ping_ends_by_itself():
    assert requests.ping_argv("192.168.172.2", 4) == ["ping", "-n", "-c", "4", "-W", "3", "192.168.172.2"]


def test_fault_b34_login_to_a_silent_node_is_refused_at_once_with_the_way_out():
    reason = "it does not answer; its console shows: Kernel panic"
    silent = replace(TARGET, state="booted", cause=CAUSE_NO_ANSWER, reason=reason)
    with pytest.raises(Conflict, match=r"is booted, but it does not answer.*panic.*walt node console vnode1.*reboot"):
        requests.check_booted(silent)
    assert requests.check_booted(replace(silent, cause="ssh-answers"))
