"""Labs: one document becomes nodes in one transaction, again and again; whose they are, and what is refused."""

from __future__ import annotations

import pytest

from tests.service.nodes.world import HOST
from walt.contracts.errors import NeedsForce
from walt.contracts.vmrunner import BOOTED

HOME = "demo/home-net"


def lab(*nodes, name="demo", networks=(), links=()):
    """nodes: names, or documents of nodes."""
    documents = [{"name": one} if isinstance(one, str) else one for one in nodes]
    return {"name": name, "nodes": documents, "networks": list(networks), "links": list(links)}


def home(*ends, options=("lat=10ms",)):
    return {"name": "home-net", "ports": [{"node": one, "options": list(options)} for one in ends]}


def apply(platform, document, user="alice", **arguments):
    return platform.call(user, "apply_lab", document=document, **arguments)


def did(reply):
    assert reply["faults"] == []
    return [(one["kind"], one["node"]) for one in reply["actions"]]


def faults(reply):
    return [("/".join(one["path"]), one["error"], one["sentence"]) for one in reply["faults"]]


def of_network(platform, node):
    spec = platform.spec(node)
    return {one.network.name: (one.network.id, one.link.up.latency_us) for one in spec.interfaces}


@pytest.fixture(autouse=True)
def no_labs(platform):
    yield
    for user in ("alice", "bob"):
        for one in platform.call(user, "get_labs"):
            platform.call(user, "remove_lab", name=one["name"], force=True)


def test_lab_is_made_once_and_then_nothing_changes(platform):
    document = lab("v1", {"name": "v2", "settings": ["ram=1G"], "image": "debian"}, networks=[home("v1", "v2")])
    planned = apply(platform, document, dry_run=True)
    assert did(planned) == [("create", "v1"), ("create", "v2")] and platform.call("alice", "get_labs") == []
    assert platform.call("alice", "get_nodes", "all-nodes") == []
    done = apply(platform, document)
    assert did(done) == did(planned) and [one["name"] for one in done["nodes"]] == ["v1", "v2"]
    assert {one["lab"] for one in done["nodes"]} == {"demo"} and done["actions"][1]["host"] == HOST
    assert [(one["name"], one["after"]) for one in done["actions"][1]["changes"]] == [
        ("image", "debian"),
        ("networks", f"walt-net,{HOME}[lat=10ms]"),
        ("ram", "1G"),
    ]
    versions = [platform.spec(name).version for name in ("v1", "v2")]
    assert did(apply(platform, document)) == []
    assert [platform.spec(name).version for name in ("v1", "v2")] == versions
    (view,) = platform.call("alice", "get_labs")
    assert view["nodes"] == ["v1", "v2"] and view["document"]["nodes"][1]["settings"] == ["ram=1G"]
    assert [one["kind"] for one in platform.call("alice", "get_events", "v1")] == ["create"]


def test_link_changes_live_and_only_what_needs_it_reboots(platform):
    apply(platform, lab("v1", "v2", networks=[home("v1", "v2")]))
    for name in ("v1", "v2"):
        platform.apply(platform.report(name))
    boots = {name: platform.spec(name).boot for name in ("v1", "v2")}
    done = apply(
        platform, lab("v1", {"name": "v2", "settings": ["ram=1G"]}, networks=[home("v1", "v2", options=("lat=5ms",))])
    )
    assert [(one["node"], one["reboots"]) for one in done["actions"]] == [("v1", False), ("v2", True)]
    assert of_network(platform, "v1")[HOME][1] == 5000
    assert platform.spec("v1").boot == boots["v1"] and platform.state("v1") == BOOTED
    assert platform.spec("v2").boot == boots["v2"] + 1


def test_node_that_is_off_is_started(platform):
    apply(platform, lab("v1"))
    platform.call("alice", "stop_nodes", "v1")
    (action,) = apply(platform, lab("v1"))["actions"]
    assert (action["starts"], action["reboots"], platform.spec("v1").power) == (True, False, "on")


def test_node_that_is_no_longer_in_the_file_goes_and_nothing_else(platform):
    platform.call("alice", "create_nodes", ["mine"])
    apply(platform, lab("v1", "v2"))
    other = platform.spec("mine")
    assert did(apply(platform, lab("v2", "v3"))) == [("remove", "v1"), ("create", "v3")]
    assert platform.spec("mine") == other and platform.spec("v1").power == "absent"


def test_nodes_with_data_go_with_force_only(platform):
    disks = {"name": "v1", "settings": ["disks=1G"]}
    apply(platform, lab(disks, "v2"))
    platform.vmrunner.written[platform.spec("v1").disks[0].id] = 10**6
    for call in (
        lambda **force: apply(platform, lab("v2"), **force),
        lambda **force: apply(platform, lab("v1", "v2"), **force),
        lambda **force: platform.call("alice", "remove_lab", name="demo", **force),
    ):
        with pytest.raises(NeedsForce, match="v1"):
            call()
        assert platform.view("v1")["config"]["disks"] == "1G"
    assert did(apply(platform, lab("v2"), dry_run=True)) == [("remove", "v1")]
    assert did(apply(platform, lab("v2"), force=True)) == [("remove", "v1")]


def test_networks_of_two_labs_never_meet(platform):
    platform.call("alice", "create_nodes", ["mine"], settings=["networks=walt-net,home-net"])
    for user, name, node in (("alice", "demo", "v1"), ("alice", "other", "v2"), ("bob", "demo", "v3")):
        apply(platform, lab(node, name=name, networks=[home(node)]), user)
    ids = [of_network(platform, node)[name][0] for node, name in (("v1", HOME), ("v2", "other/home-net"), ("v3", HOME))]
    assert len({*ids, of_network(platform, "mine")["home-net"][0]}) == 4
    external = {**home("v4"), "is_external": True}
    apply(platform, lab("v4", name="third", networks=[external]))
    assert of_network(platform, "v4")["home-net"][0] == of_network(platform, "mine")["home-net"][0]


def test_every_fault_is_told_with_its_path_and_nothing_is_changed(platform):
    platform.call("bob", "create_nodes", ["his"])
    apply(platform, lab("of-other", name="other"))
    platform.call("alice", "create_nodes", ["big"], settings=["persist=4G"])
    document = lab("new", "his", "of-other", "big", {"name": "x", "image": "nothing", "settings": ["ram=1Q"]})
    assert faults(apply(platform, document)) == [
        (
            "nodes/x/ram/1Q",
            "InvalidRequest",
            "'1Q' is not a value for ram; allowed: a whole number with M or G (512M, 2G)",
        ),
        ("nodes/x/image/nothing", "NotFound", "there is no image 'nothing'"),
        ("nodes/his", "NotOwner", "node 'his' belongs to bob"),
        ("nodes/of-other", "Conflict", "node 'of-other' is of your lab other; allowed: one of no lab, or another name"),
        (
            "nodes/big/persist",
            "InvalidRequest",
            "persist=1G is less than its 4G, and /persist is never made smaller; allowed: 4G or more",
        ),
    ]
    assert [one["name"] for one in platform.call("alice", "get_nodes", "my-nodes")] == ["big", "of-other"]
    assert [one["name"] for one in platform.call("alice", "get_labs")] == ["other"]


def test_nodes_made_by_hand_join_and_leave(platform):
    platform.call("alice", "create_nodes", ["v1", "v2"])
    (action, _) = apply(platform, lab("v1", "v2"))["actions"]
    assert (action["joins"], action["changes"], action["reboots"]) == (True, [], False)
    platform.call("alice", "release_nodes", "v1")
    assert platform.view("v1")["lab"] == ""
    assert faults(apply(platform, lab("v1", "v2")))[0][1] == "NotOwner"
    platform.call("bob", "acquire_nodes", "v1,v2", force=True)
    assert platform.view("v2")["lab"] == "" and platform.call("alice", "get_labs")[0]["nodes"] == []


def test_removal_takes_the_nodes_and_the_name_is_free(platform):
    apply(platform, lab("v1", "v2"))
    assert platform.refusal("bob", "remove_lab", name="demo") == "NotFound: no lab 'demo'; yours: walt lab show"
    assert (
        platform.refusal("alice", "get_labs", name="dem")
        == "NotFound: no lab 'dem' (did you mean demo?); yours: walt lab show"
    )
    gone = platform.call("alice", "remove_lab", name="demo")
    assert [one["name"] for one in gone["nodes"]] == ["v1", "v2"] and platform.call("alice", "get_labs") == []
    assert did(apply(platform, lab("v1", "v2"), "bob")) == [("create", "v1"), ("create", "v2")]


@pytest.mark.parametrize(
    "document",
    [
        {"name": "demo"},
        {"name": 7, "nodes": []},
        {"name": "demo", "nodes": ["v1"]},
        {"name": "demo", "nodes": [{"name": "v1", "settings": [1]}]},
        [],
    ],
)
def test_what_is_no_document_is_refused(platform, document):
    assert platform.refusal("alice", "apply_lab", document=document).startswith("InvalidRequest: document")


def test_strange_documents_have_faults(platform):
    for document in (
        lab(),
        lab("v1", name="../x"),
        lab("v1", name=""),
        lab("v1", "V1"),
        lab("v1", links=[{"ends": []}]),
        lab("v1", networks=[home("v1", "v1")]),
        lab({"name": "v1", "settings": ["", "=", "ram"]}),
        lab({"name": "\x1b[2J"}),
        lab(*[{"name": f"v{number}"} for number in range(1001)]),
    ):
        assert faults(apply(platform, document)), document
    assert platform.call("alice", "get_nodes", "all-nodes") == []


def test_a_trace_that_is_not_there_is_refused_at_its_place(platform):
    content = {"text": "keep_us latency_us\n1000 5\n", "loops": True, "start_us": 0}
    platform.call("alice", "import_trace", name="lte-1", content=content)
    link = {"ends": [{"node": "v1", "options": ["trace.down=lte"]}, {"node": "v2", "options": ["trace=none"]}]}
    own = {"name": "v2", "settings": ["networks=walt-net,x[trace=other]", "ram=1G"]}
    document = lab("v1", own, networks=[home("v1", "v2", options=("lat=1ms", "trace=lte-1"))], links=[link])
    reply = apply(platform, document)
    yours = "yours: lte-1 (walt network trace list)"
    assert faults(reply) == [
        ("links/v1 -- v2/v1/trace.down=lte", "NotFound", f"no trace 'lte' (did you mean lte-1?); {yours}"),
        ("nodes/v2/networks/walt-net,x[trace=other]", "NotFound", f"no trace 'other'; {yours}"),
    ]
    assert platform.call("alice", "get_nodes", "all-nodes") == []
    platform.call("alice", "remove_trace", name="lte-1")
