"""Requests as any program may send them; what doctor and Prometheus read."""

from __future__ import annotations

import time

import pytest
from prometheus_client import REGISTRY

from services.kit.bus.entrypoints import public_methods
from services.nodes.service import NodesService
from tests.service.nodes.world import HOST
from walt.contracts import nodes
from walt.contracts.errors import InvalidRequest
from walt.contracts.vmrunner import BOOTED, DELAYING


@pytest.mark.parametrize("method", public_methods(NodesService))
def test_call_without_user_id_is_refused(platform, method):
    error = platform.user("alice").reply(f"nodes.{method}", user_id=None)["error"]
    assert error["exc_type"] == "Denied" and "no user id" in error["value"]


@pytest.mark.parametrize("name", ["my-nodes", "a,b", "ALL-nodes"])
def test_commands_on_one_node_take_no_set(platform, name):
    platform.call("alice", "create_nodes", ["a"])
    refused = f"InvalidRequest: '{name}' is a node set; allowed here: the name of one node, not a set"
    assert platform.refusal("alice", "rename_node", name, "x") == refused
    with pytest.raises(InvalidRequest, match="is a node set; allowed here"):
        platform.bus.call("nodes", "authorize", user="alice", name=name, action=nodes.PING)


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("create_nodes", [None]),
        ("create_nodes", [["a", 1]]),
        ("create_nodes", [[]]),
        ("create_nodes", ["abc"]),
        ("create_nodes", [["a"], "ram=1G"]),
        ("create_nodes", [["a"], [], 5]),
        ("get_nodes", [7]),
        ("get_nodes", [""]),
        ("get_nodes", ["a\udcff"]),
        ("get_nodes", ["a,,b"]),
        ("configure_nodes", ["a", {}]),
        ("configure_nodes", ["a", [], 1]),
        ("acquire_nodes", ["a", "false"]),
        ("reboot_nodes", ["a", "hard"]),
        ("reboot_nodes", [["a"]]),
        ("stop_nodes", ["a", None]),
        ("stop_nodes", [{"a": 1}]),
        ("start_nodes", [None]),
        ("start_nodes", [7.5]),
        ("boot_nodes", ["a", ["default"]]),
        ("remove_nodes", ["a", 0]),
        ("release_nodes", ["a", "yes"]),
        ("rename_node", [None, "b"]),
        ("rename_node", ["a", 5]),
        ("rename_node", ["a", ""]),
        ("rename_node", ["a", "b\x00"]),
        ("rename_node", ["a", "b" * 64]),
        ("rename_node", ["a", "all-nodes"]),
        ("get_nodes", ["a\0"]),
        ("get_nodes", ["\ud800"]),
        ("get_nodes", ["a," * 10**6]),
        ("get_events", ["a\0"]),
        ("configure_nodes", ["a", ["ram=" + "1" * 10**6]]),
        ("create_nodes", [["a"] * 10**5]),
        ("remove_user", ["\ud800"]),
    ],
)
def test_arguments_of_any_kind_are_refused_with_a_sentence(platform, method, args):
    assert platform.refusal("alice", method, *args).startswith("InvalidRequest")


def test_diagnose_names_those_who_are_away(platform):
    started = time.monotonic()
    checks = platform.call("bob", "diagnose")
    assert time.monotonic() - started < 8
    assert {"subject": "database", "status": "ok", "found": "sqlite, 0 nodes"}.items() <= checks[0].items()
    assert {"subject": "KVM", "status": "ok"}.items() <= next(c for c in checks if c["subject"] == "KVM").items()
    away = {check["subject"]: check for check in checks if check["status"] == "fail"}
    assert set(away) == {f"netemu@{HOST}", f"console@{HOST}"}
    assert all(check["consequence"] and check["fix"] for check in away.values())


def test_metrics_count_the_nodes(platform):
    platform.call("alice", "create_nodes", ["a", "b"])
    platform.call("alice", "release_nodes", "b")
    assert (sample("walt_nodes", state=DELAYING), sample("walt_nodes", state=BOOTED)) == (2, 0)
    assert sample("walt_nodes_free") == sample("walt_nodes_owned") == 1
    assert sample("walt_node_state", node="a", state=DELAYING) == 1
    assert sample("walt_node_state", node="a", state=BOOTED) is None
    assert sample("walt_node_info", node="a", owner="alice", image="default", host=HOST, lab="") == 1
    platform.call("alice", "rename_node", "a", "c")
    assert sample("walt_node_state", node="a", state=DELAYING) is None
    assert sample("walt_node_state", node="c", state=DELAYING) == 1


def sample(name, **labels):
    return REGISTRY.get_sample_value(name, labels)
