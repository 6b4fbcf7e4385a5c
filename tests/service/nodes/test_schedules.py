"""Schedules: links that change by themselves from one moment on; what agents are told, what is logged and refused."""

from __future__ import annotations

import time

import pytest

from tests.service.nodes.test_ports import create
from tests.support.wait import wait_until

HOME = "networks=walt-net,home-net[lat=50ms]"
WORDS = ["at=10s", "lat=80ms", "loss.down=1%", "at=20s", "lat=20ms"]


@pytest.fixture(autouse=True)
def no_nodes(platform):
    yield
    platform.forget_all()


def port(nodes="v1", network="home-net", words=tuple(WORDS)):
    return {"nodes": nodes, "network": network, "words": list(words)}


def start(platform, *ports, user="alice", **arguments):
    return platform.call(user, "schedule_links", ports=list(ports), **arguments)


def link(platform, node):
    return platform.spec(node).interfaces[1].link


def content(platform, number):
    return platform.bus.call("nodes", "get_trace", trace=number)


def networks(platform, node):
    return platform.call("alice", "get_nodes", node)[0]["config"]["networks"]


def test_all_links_have_one_start(platform):
    create(platform, "v1", "v2", "v3", networks=HOME)
    before = time.time()
    started = start(platform, port("v1,v2"), port("v3", words=["at=1s", "every=1s", "until=3s", "bw=1Mbps"]), after=3.5)
    assert before + 3.5 < started["start_us"] / 1e6 < time.time() + 3.5
    assert started["links"] == ["v1 (home-net)", "v2 (home-net)", "v3 (home-net)"]
    wait_until(lambda: {spec.name for spec in platform.vmrunner.specs if spec.version == 2} == {"v1", "v2", "v3"})
    up, down = (content(platform, getattr(link(platform, "v1"), side).trace) for side in ("up", "down"))
    assert up == {
        "text": "keep_us latency_us\n10000000 0\n10000000 30000\n1000000 -30000\n",
        "loops": False,
        "start_us": started["start_us"],
    }
    assert down["text"] == "keep_us loss_ppm\n10000000 0\n10000000 10000\n1000000 10000\n"
    assert link(platform, "v2").up.trace == link(platform, "v1").up.trace, "alike, so shared"
    assert content(platform, link(platform, "v3").up.trace)["start_us"] == started["start_us"]
    assert {one["kind"] for one in platform.call("alice", "get_events", "v1")} == {"create", "schedule"}
    text = platform.call("alice", "get_events", "v1")[-1]["text"]
    assert text.startswith("from 20") and "Z: home-net at=10s lat=80ms loss.down=1% at=20s lat=20ms" in text


def test_another_takes_its_place_and_an_ended_one_is_gone(platform):
    create(platform, "v1", networks=HOME)
    start(platform, port())
    first = networks(platform, "v1")
    start(platform, port(words=["at=1s", "lat.down=5ms"]))
    assert networks(platform, "v1") != first
    assert (link(platform, "v1").up.trace, link(platform, "v1").up.latency_us) == (0, 50_000)
    assert len(platform.call("alice", "get_traces")) == 1
    platform.call("alice", "link_nodes", "v1", "home-net", ["trace.down=none"])
    assert networks(platform, "v1") == HOME.removeprefix("networks=")


@pytest.mark.parametrize(
    "ports, told",
    [
        ([], "InvalidRequest: 0 schedules in one command; allowed: 1 to 2000"),
        ([port(words=["lat=1ms"])], "InvalidRequest: 'lat=1ms' is before the first at=; allowed: at=TIME"),
        ([port(network="other")], "NotFound: node 'v1' has no network 'other'"),
        ([port(), port()], "InvalidRequest: v1 (home-net) is scheduled twice; allowed: once in a command"),
        ([port("w1")], "NotOwner: node 'w1' belongs to bob"),
        ([port("nobody")], "NotFound: no node 'nobody'"),
        ([port(words=["at=0", "every=100us", "until=900ms", "lat=1ms"] * 60)], "InvalidRequest: 540060 changes of one"),
        ([{"nodes": 7, "network": "home-net", "words": []}], "InvalidRequest: "),
    ],
)
def test_refusals(platform, ports, told):
    create(platform, "v1", networks=HOME)
    create(platform, "w1", networks=HOME, user="bob")
    assert platform.refusal("alice", "schedule_links", ports=ports).startswith(told)
    assert platform.refusal("alice", "schedule_links", ports=[port()], after=-1).startswith("InvalidRequest: ")
    assert networks(platform, "v1") == HOME.removeprefix("networks=")


def test_names_of_schedules_are_not_given_by_users(platform):
    refused = platform.refusal("alice", "import_trace", name="at-1", content={"text": "keep_us loss_ppm\n9 9\n"})
    assert refused.startswith("InvalidRequest: 'at-1' is not a name of a trace")
