"""Traces of an account: imported, followed by links, told to agents, and removed; whose they are, and how many."""

from __future__ import annotations

import pytest

from services.nodes.domain import traces as rules
from tests.service.nodes.test_ports import applied_port, create, ports  # noqa: F401
from tests.support.wait import wait_until
from walt.contracts.traces import TraceContent

TEXT = "keep_us rate_bps latency_us\n1000000 8000000 20000\n500000 0 45000\n"
CONTENT = {"text": TEXT, "loops": True, "start_us": 0}
HOME = ["networks=walt-net,home-net[trace=lte]"]


@pytest.fixture(autouse=True)
def no_traces(platform):
    yield
    platform.forget_all()
    for user in ("alice", "bob"):
        for one in platform.call(user, "get_traces"):
            platform.call(user, "remove_trace", name=one["name"])


def bring(platform, name="lte", user="alice", **changes):
    return platform.call(user, "import_trace", name=name, content={**CONTENT, **changes})


def number_of(platform, node):
    return platform.spec(node).interfaces[1].link.up.trace


def test_a_trace_is_told_to_agents_by_an_id_that_is_never_another(platform):
    view = bring(platform)
    assert (view["rows"], view["length_us"], view["columns"]) == (2, 1_500_000, ["rate_bps", "latency_us"])
    assert (view["mean_bps"], view["min_latency_us"], view["max_latency_us"]) == (5_333_333, 20_000, 45_000)
    create(platform, "v1", networks=HOME[0])
    first = number_of(platform, "v1")
    assert platform.bus.call("nodes", "get_trace", trace=first) == CONTENT
    assert platform.call("alice", "get_traces", name="lte")[0]["used_by"] == ["v1 (home-net)"]
    platform.call("alice", "link_nodes", "v1", "home-net", ["trace=none"])
    platform.call("alice", "remove_trace", name="lte")
    bring(platform, loops=False)
    answer = platform.call("alice", "link_nodes", "v1", "home-net", ["trace=lte"])
    assert answer["nodes"][0]["config"]["networks"] == HOME[0].removeprefix("networks=")
    assert number_of(platform, "v1") not in (0, first)
    wait_until(lambda: platform.vmrunner.specs[-1].interfaces[1].link.up.trace == number_of(platform, "v1"))
    assert platform.bus.call("nodes", "get_trace", trace=number_of(platform, "v1"))["loops"] is False


def test_a_trace_that_is_followed_stays(platform):
    bring(platform)
    create(platform, "v1", networks=HOME[0])
    refused = platform.refusal("alice", "remove_trace", name="lte")
    assert refused == (
        "Conflict: trace 'lte' is followed by v1 (home-net); allowed: once no link follows it "
        "(walt network link NODE NETWORK trace=none)"
    )


def test_ports_are_shown_with_names(platform, ports):  # noqa: F811
    bring(platform)
    create(platform, "v1", networks=HOME[0])
    ports[:] = [applied_port(platform, "v1", 1)]
    (shown,) = [one for one in platform.call("alice", "get_ports", "v1") if one["network"] == "home-net"]
    assert (shown["asked"], shown["applied"]) == ("trace=lte", "trace=lte")


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_link_follows_traces_of_its_owner_only(platform, dry_run):
    bring(platform, "other")
    bring(platform, user="bob")
    told = "NotFound: no trace 'lte'; yours: other (walt network trace list)"
    assert platform.refusal("alice", "create_nodes", ["v1"], settings=HOME) == told
    create(platform, "v1", networks="networks=walt-net,home-net")
    assert platform.refusal("alice", "link_nodes", "v1", "home-net", ["trace.down=lte"]) == told
    assert platform.refusal("alice", "configure_nodes", "v1", HOME) == told
    document = {"name": "demo", "nodes": [{"name": "v2", "settings": HOME}]}
    (fault,) = platform.call("alice", "apply_lab", document=document, dry_run=dry_run)["faults"]
    assert f"{fault['error']}: {fault['sentence']}" == told and fault["path"] == ["nodes", "v2", *HOME[0].split("=", 1)]


def test_who_takes_a_node_over_has_not_its_trace(platform):
    bring(platform)
    create(platform, "v1", networks=HOME[0])
    platform.call("bob", "acquire_nodes", "v1", force=True)
    assert number_of(platform, "v1") == 0
    assert platform.call("bob", "get_nodes", "v1")[0]["config"]["networks"] == "walt-net,home-net"
    platform.call("alice", "remove_trace", name="lte")


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("LTE", {}, "InvalidRequest: 'LTE' is not a name of a trace; allowed: a small letter first"),
        ("none", {}, "InvalidRequest: 'none' is not a name of a trace"),
        ("a", {"text": "keep_us\n"}, "InvalidRequest: line 1: 'keep_us' does not name the columns of a trace; allowed"),
        ("a", {"text": TEXT + "1 2 x\n"}, "InvalidRequest: line 4: '1 2 x' is not a row; allowed: 3 whole numbers"),
        ("a", {"text": "9" * 2_000_000}, "InvalidRequest: a trace of 2000000 characters; allowed: 1500000"),
        ("a", {"text": 7}, "InvalidRequest: "),
    ],
)
def test_what_a_program_sends_is_checked(platform, name, content, told):
    refused = platform.refusal("alice", "import_trace", name=name, content={**CONTENT, **content})
    assert refused.startswith(told)


def test_an_account_has_so_many(platform, monkeypatch):
    bring(platform)
    refused = platform.refusal("alice", "import_trace", name="lte", content=CONTENT)
    assert refused == "Conflict: you have a trace 'lte'; allowed: another name, or walt network trace remove lte"
    monkeypatch.setattr(rules, "ROWS_OF_ONE", 3)
    refused = platform.refusal("alice", "import_trace", name="b", content=CONTENT)
    assert refused == "LimitReached: your traces have 2 rows, and 2 more; allowed: 3 altogether"
    monkeypatch.setattr(rules, "TRACES_OF_ONE", 1)
    refused = platform.refusal("alice", "import_trace", name="b", content=CONTENT)
    assert refused == "LimitReached: 1 traces are yours; allowed: 1 (walt network trace remove NAME)"
    bring(platform, user="bob")


def test_it_outlives_the_service(platform):
    bring(platform)
    create(platform, "v1", networks=HOME[0])
    before = number_of(platform, "v1")
    platform.restart()
    assert number_of(platform, "v1") == before
    assert TraceContent(**platform.bus.call("nodes", "get_trace", trace=before)) == TraceContent(TEXT)
