"""The log of events: who did what, which states followed, who may read it."""

from __future__ import annotations

import pytest

from tests.support.wait import wait_until
from walt.contracts.vmrunner import BOOTED, BOOTING


def log(platform, user="alice", **query):
    return platform.call(user, "get_events", **query)


def summary(events):
    return [(event["kind"], event["node"], event["user"], event["owner"], event["text"]) for event in events]


@pytest.fixture
def last(platform):
    """The newest event of all before the test: the log outlives the nodes of the other tests."""
    platform.call("alice", "create_nodes", ["marker"])
    platform.call("alice", "remove_nodes", "marker")
    return log(platform, selection="marker")[-1]["id"]


def test_every_command_is_an_event_with_its_cause(platform, last):
    call = platform.call

    call("alice", "create_nodes", ["v1"], settings=["ram=1G", "networks=walt-net,home-net"], image="debian")
    call("alice", "configure_nodes", "v1", ["boot.retries=3", "boot.delay=0"])
    call("alice", "link_nodes", "v1", "home-net", ["lat=10ms", "loss=1%"])
    call("alice", "reboot_nodes", "v1")
    call("alice", "boot_nodes", "v1", "default")
    call("alice", "release_nodes", "v1")
    call("bob", "acquire_nodes", "v1")
    call("alice", "acquire_nodes", "v1", force=True)
    call("alice", "remove_nodes", "v1")
    assert summary(log(platform, selection="V1", after=last)) == [
        ("create", "v1", "alice", "alice", "image=debian ram=1G networks=walt-net,home-net"),
        ("config", "v1", "alice", "alice", "boot.delay=0 boot.retries=3"),
        ("link", "v1", "alice", "alice", "home-net lat=10ms loss=1%"),
        ("reboot", "v1", "alice", "alice", ""),
        ("boot", "v1", "alice", "alice", "image=default"),
        ("release", "v1", "alice", "alice", ""),
        ("acquire", "v1", "bob", "bob", ""),
        ("takeover", "v1", "alice", "bob", "from bob to alice"),
        ("remove", "v1", "alice", "alice", ""),
    ]
    times = [one["at"] for one in log(platform, selection="v1", after=last)]
    assert times == sorted(times)
    assert log(platform, selection="v1", since=times[-1] + 0.001) == []


def test_command_that_is_refused_or_changes_nothing_is_no_event(platform, last):
    platform.call("alice", "create_nodes", ["v1", "v2"])
    platform.refusal("bob", "reboot_nodes", "v1")
    platform.refusal("alice", "configure_nodes", "v1,v2", ["ram=1"])
    platform.call("alice", "configure_nodes", "v1", ["ram=512M"])
    assert [one["kind"] for one in log(platform, selection="v1,v2", after=last)] == ["create", "create"]


def test_transitions_are_events_once(platform, last):
    platform.call("alice", "create_nodes", ["v1"])
    booting = platform.report("v1", BOOTING, 1, reason="its system starts", since=1000.5)
    booted = platform.report("v1", BOOTED, 2, reason="ssh answers after 3.2 s", since=1004.0)
    for report in (booting, booted, booting, booted):
        platform.send(report)
    wait_until(lambda: platform.state("v1") == BOOTED)
    platform.pass_marker("v1")
    events = log(platform, selection="v1", after=last)[1:]
    assert summary(events) == [
        ("state", "v1", "", "alice", "booting: its system starts"),
        ("state", "v1", "", "alice", "booted: ssh answers after 3.2 s"),
    ]
    assert [one["at"] for one in events] == [1000.5, 1004.0]


def test_log_of_the_caller_is_of_his_nodes_and_of_what_was_his(platform, last):
    platform.call("alice", "create_nodes", ["a1", "a2"])
    platform.call("bob", "create_nodes", ["b1"])
    platform.call("bob", "acquire_nodes", "a1", force=True)
    platform.call("bob", "reboot_nodes", "a1")
    alices = [(event["kind"], event["node"]) for event in log(platform, after=last)]
    assert alices == [("create", "a1"), ("create", "a2"), ("takeover", "a1")]
    bobs = [(event["kind"], event["node"]) for event in log(platform, "bob", after=last)]
    assert bobs == [("create", "a1"), ("create", "b1"), ("takeover", "a1"), ("reboot", "a1")]
    platform.call("alice", "remove_nodes", "a2")
    assert summary(log(platform, "bob", selection="a2,b1", after=last))[-1] == ("remove", "a2", "alice", "alice", "")
    assert {one["node"] for one in log(platform, selection="my-nodes,a1", after=last)} == {"a1"}


def test_name_without_node_and_events_is_not_found(platform):
    assert platform.refusal("alice", "get_events", "never") == "NotFound: no node 'never'"


def test_pages_of_the_log_leave_nothing_out(platform, last):
    platform.call("alice", "create_nodes", [f"p{number}" for number in range(7)])
    pages, after = [], last
    while page := log(platform, after=after, limit=3):
        pages, after = pages + [[one["node"] for one in page]], page[-1]["id"]
    assert pages == [["p0", "p1", "p2"], ["p3", "p4", "p5"], ["p6"]]
    assert [one["node"] for one in log(platform, limit=2)] == ["p5", "p6"]


@pytest.mark.parametrize(
    "query", [{"limit": 10_001}, {"since": "x"}, {"after": -1}, {"selection": 7}, {"selection": "a\udcff"}]
)
def test_bad_query_is_refused(platform, query):
    assert platform.refusal("alice", "get_events", **query).startswith("InvalidRequest")


def test_former_owner_has_a_notice_of_a_takeover(platform):
    platform.call("alice", "create_nodes", ["kept", "lost"])
    known = {one["id"] for one in platform.call("alice", "get_notices")}
    platform.call("bob", "acquire_nodes", "lost", force=True)
    platform.call("bob", "reboot_nodes", "lost")
    fresh = [one for one in platform.call("alice", "get_notices") if one["id"] not in known]
    assert summary(fresh) == [("takeover", "lost", "bob", "alice", "from alice to bob")]
    assert not [one for one in platform.call("bob", "get_notices") if one["node"] == "lost"]


def test_log_outlives_the_service(platform, last):
    platform.call("alice", "create_nodes", ["v1"])
    platform.vmrunner.vms.append(platform.report("v1", BOOTED, reason="x", since=1000.0))
    before = log(platform, selection="v1", after=last)
    platform.restart()
    wait_until(lambda: platform.view("v1")["state"] == BOOTED)
    wait_until(lambda: len(log(platform, selection="v1", after=last)) == 2)
    after = log(platform, selection="v1", after=last)
    assert after[:1] == before and summary(after)[1][-1] == "booted: x"
