"""`walt lab …`: what is sent, what is printed, and the exit codes."""

from __future__ import annotations

import io
import json

import pytest

from cli.lab import export, grammar, plan_text, work, writer
from cli.lab.node_scripts import ScriptResult
from cli.tree import run
from tests.unit.cli.fakes import FakeClient, Script, node, node_view
from walt.contracts.errors import NeedsForce, NotFound
from walt.contracts.lab_check import check
from walt.contracts.labs import CHANGE, CREATE, REMOVE, LabAction, LabChange
from walt.contracts.settings import NodeConfig, show_settings

FILE = """\
name: demo
nodes:
  vnode1:
  vnode2: {ram: 1G}
links:
  - vnode1 -- vnode2: lat=10ms
"""
DOCUMENT = {
    "name": "demo",
    "nodes": [{"name": "vnode1"}, {"name": "vnode2", "settings": ["ram=1G"]}],
    "links": [{"ends": [{"node": "vnode1", "options": ["lat=10ms"]}, {"node": "vnode2", "options": ["lat=10ms"]}]}],
}
LAB = {"name": "demo", "owner": "alice", "applied_at": 0.0, "document": DOCUMENT, "nodes": ["vnode1", "vnode2"]}
CREATED = {
    "kind": CREATE,
    "node": "vnode2",
    "host": "lab1",
    "changes": [{"name": "ram", "before": "", "after": "1G"}],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "demo.yml"
    path.write_text(FILE)
    return str(path)


def applied(actions=(), faults=(), nodes=("vnode1", "vnode2"), notes=()):
    nodes = [node(one) for one in nodes]
    return {"lab": "demo", "actions": list(actions), "faults": list(faults), "nodes": nodes, "notes": list(notes)}


def fault(path, error, sentence):
    return {"path": path, "error": error, "sentence": sentence}


def test_plan_prints_what_would_be_done(file, capsys):
    client = FakeClient(apply_lab=applied([CREATED]))
    assert run(["lab", "plan", file], client) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("+ vnode2 on lab1: ram=1G\n", "demo: 1 to create\n")
    ((method, arguments),) = client.calls
    assert (method, arguments["dry_run"], arguments["force"]) == ("nodes.apply_lab", True, False)
    assert json.loads(json.dumps(arguments["document"]))["links"] == DOCUMENT["links"]


def test_apply_waits_for_the_nodes_of_the_lab(file, capsys):
    client = FakeClient(apply_lab=applied(notes=["vnode2: a note"]))
    assert run(["lab", "apply", file, "--wait"], client) == 0
    assert capsys.readouterr().err == "demo: no change\nvnode2: a note\n"
    assert run(["lab", "apply", file, "--timeout", "3"], client) == 2


@pytest.mark.parametrize("statuses", [{}, {"vnode1": 3}], ids=["all", "one fails"])
def test_a_node_is_prepared_as_soon_as_it_has_booted(tmp_path, capsys, monkeypatch, statuses):
    """Another may need it to boot; what fails in one keeps none from its work."""
    path = tmp_path / "demo.yml"
    path.write_text("name: demo\nnodes:\n  vnode1: {run: 'true'}\n  vnode2: {run: 'true'}\n  vnode3:\n")
    done = []

    def run_shown(client, scripts):
        done.append([node.name for node, _ in scripts])
        return [statuses.get(node.name, 0) for node, _ in scripts]

    monkeypatch.setattr(work, "run_all", lambda client, scripts: [ScriptResult(1, "") for _ in scripts])
    monkeypatch.setattr(work, "run_shown", run_shown)
    first = [node("vnode1"), node("vnode2", "booting"), node("vnode3", "booting")]
    later = [node("vnode1"), node("vnode2"), node("vnode3", "booting")]
    client = FakeClient(
        apply_lab={**applied(), "nodes": first},
        get_nodes=Script(later, [node("vnode1"), node("vnode2"), node("vnode3")]),
    )
    assert run(["lab", "apply", str(path), "--wait"], client) == (1 if statuses else 0)
    assert [names for names in done if names] == [["vnode1"], ["vnode2"]]
    said = capsys.readouterr().err
    assert ("vnode1: not all of its commands were run" in said) == bool(statuses)
    assert ("vnode1, vnode2: prepared" in said) == (not statuses)


def test_name_stands_for_what_was_applied(capsys):
    client = FakeClient(apply_lab=applied(), get_labs=[LAB])
    assert run(["lab", "apply", "demo"], client) == 0
    assert client.calls[0] == ("nodes.get_labs", {"name": "demo"})
    sent = client.calls[1][1]["document"]
    assert [one["name"] for one in sent["nodes"]] == ["vnode1", "vnode2"]
    assert run(["lab", "plan", "nothing"], FakeClient(get_labs=NotFound("no lab 'nothing'"))) == 3


def test_faults_of_the_platform_have_their_places_in_the_file(file, capsys):
    faults = [
        fault(["nodes", "vnode2", "ram", "1G"], "InvalidRequest", "ram=1G is more than host lab1 could ever hold"),
        fault(["nodes", "vnode1"], "NotOwner", "node 'vnode1' belongs to bob"),
        fault(["nodes", "vnode1", "image", ""], "OfTheFuture", "what this walt does not know"),
    ]
    assert run(["lab", "apply", file], FakeClient(apply_lab=applied(faults=faults))) == 4
    assert capsys.readouterr().err.splitlines() == [
        f"walt: {file}:3:3: node 'vnode1' belongs to bob",
        f"walt: {file}:3:3: what this walt does not know",
        f"walt: {file}:4:17: ram=1G is more than host lab1 could ever hold",
    ]
    assert run(["lab", "apply", "demo"], FakeClient(get_labs=[LAB], apply_lab=applied(faults=faults[:1]))) == 2
    assert capsys.readouterr().err == "walt: demo: ram=1G is more than host lab1 could ever hold\n"


def test_wrong_file_is_refused_before_anything_is_asked(tmp_path, capsys):
    path = tmp_path / "x.yml"
    path.write_text("name: demo\nnodes: [vnode1]\nlnks:\n")
    for command in ("validate", "plan", "apply", "diff", "destroy", "wait", "show"):
        client = FakeClient()
        assert run(["lab", command, str(path)], client) == 2
        assert capsys.readouterr().err.startswith(
            f"walt: {path}:3:1: 'lnks' is not a key of a lab (did you mean links?)"
        )
        assert client.calls == []
    assert run(["lab", "validate", str(tmp_path / "none.yml")], FakeClient()) == 3
    assert "none.yml cannot be read: No such file or directory" in capsys.readouterr().err


def test_file_may_come_from_standard_input(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(FILE.encode() + b"x: y\n")))
    assert run(["lab", "validate", "-"], FakeClient()) == 2
    assert capsys.readouterr().err.startswith("walt: standard input:7:1: 'x' is not a key")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(FILE.encode())))
    assert run(["lab", "validate", "-"], FakeClient()) == 0
    assert capsys.readouterr().err == "standard input: a lab of 2 nodes; nothing is wrong with it\n"


def test_diff_tells_by_its_exit_code(file, capsys):
    assert run(["lab", "diff", file], FakeClient(apply_lab=applied())) == 0
    assert run(["lab", "diff", file], FakeClient(apply_lab=applied([CREATED]))) == 1
    assert capsys.readouterr().out == "+ vnode2 on lab1: ram=1G\n"


def test_data_is_lost_with_force_only(file, capsys):
    refused = NeedsForce("vnode1: vda (1G) holds data")
    for words, method in ((["apply", file], "apply_lab"), (["destroy", file], "remove_lab")):
        client = FakeClient(**{method: refused})
        assert run(["lab", *words], client) == 4
        assert capsys.readouterr().err == "walt: vnode1: vda (1G) holds data\n"
    client = FakeClient(remove_lab={"nodes": [node("vnode1")], "notes": []})
    assert run(["lab", "destroy", "demo", "--force"], client) == 0
    assert client.calls == [("nodes.remove_lab", {"name": "demo", "force": True})]
    assert capsys.readouterr().err == "demo: removed with vnode1\n"


def test_labs_and_their_nodes_are_shown(file, capsys):
    client = FakeClient(get_labs=[LAB], get_nodes=[node("vnode1"), node("vnode2")])
    assert run(["lab", "show"], client) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["demo", "vnode1,", "vnode2"]
    assert run(["lab", "show", file], client) == 0
    assert "vnode2" in capsys.readouterr().out
    assert client.calls[-1] == ("nodes.get_nodes", {"selection": "vnode1,vnode2"})
    assert run(["lab", "wait", "demo"], client) == 0


LINES = [
    (LabAction(REMOVE, "a", "h"), "- a with its disks and files"),
    (LabAction(CREATE, "a", "h"), "+ a on h"),
    (LabAction(CHANGE, "a", "h", starts=True), "~ a: starts"),
    (LabAction(CHANGE, "a", "h", (LabChange("ram", "1G", "2G"),), reboots=True, joins=True), None),
    (
        LabAction(CHANGE, "a", "h", (LabChange("networks", "walt-net,d/x[lat=1ms]", "walt-net,d/x"),)),
        "~ a: link to d/x lat=1ms -> plain; live",
    ),
    (
        LabAction(CHANGE, "a", "h", (LabChange("networks", "walt-net,d/x", "walt-net,d/x[carrier=down]"),)),
        "~ a: link to d/x plain -> carrier=down; live",
    ),
    (
        LabAction(CHANGE, "a", "h", (LabChange("networks", "walt-net,y", "walt-net,d/x[lat=1ms]"),), reboots=True),
        "~ a: leaves y, enters d/x (lat=1ms); reboots",
    ),
    (
        LabAction(CHANGE, "a", "h", (LabChange("networks", "walt-net,x,y", "walt-net,y,x"),), reboots=True),
        "~ a: interfaces in the order walt-net, y, x; reboots",
    ),
]


@pytest.mark.parametrize(("action", "line"), LINES)
def test_line_of_a_plan(action, line):
    assert plan_text.lines([action]) == [line or "~ a: ram 1G -> 2G; joins the lab; reboots"]


def test_summary_counts_and_names_who_only_joins():
    joins = LabAction(CHANGE, "b", "h", joins=True)
    assert plan_text.summary("d", []) == "d: no change"
    assert plan_text.summary("d", [joins]) == "d: no change; b joins it"
    assert plan_text.summary("d", [LINES[0][0], LINES[1][0], joins]) == "d: 1 to create, 1 to remove; b joins it"


def typed(name, networks, **settings):
    """A node as `walt node config` left it."""
    return node_view(name, config={**show_settings(NodeConfig()), "networks": networks, **settings})


HOME, FAR = "home-net[lat=10ms]", "far"


@pytest.mark.parametrize(
    "nodes",
    [
        [typed("vnode1", f"walt-net,{HOME}"), typed("vnode2", f"walt-net,{HOME}", ram="1G")],
        [typed("a", f"walt-net,{HOME},{FAR}"), typed("b", f"walt-net,{FAR},{HOME}"), typed("c", f"{FAR},walt-net")],
        [typed("a", "walt-net[lat=5ms],far[bw=1Mbps,loss.down=1%]", disks="1G,2G[template=ext4]")],
        [typed("a", "walt-net,far[lat=1ms,carrier=down]"), typed("b", "walt-net,far")],
        [typed("a", "walt-net,lab/a--b[lat=1ms]"), typed("b", "walt-net,lab/a--b[lat=2ms]"), typed("c", "walt-net")],
        [
            typed("a", "walt-net,lab/net,lab/a--b"),
            typed("b", "walt-net,lab/a--b,lab/net"),
            typed("c", "walt-net,lab/net"),
        ],
    ],
    ids=["blog", "orders", "options", "carrier", "link", "link and order"],
)
def test_what_was_typed_comes_back_from_its_export(nodes):
    """Its file asks for exactly the settings that the nodes have."""
    text = writer.text_of(export.document_of("lab", nodes))
    reading = grammar.read(text.encode())
    assert reading.all_findings() == []
    checked = check(reading.document).nodes
    assert [(one.name, show_settings(one.config)) for one in checked] == [(one.name, one.config) for one in nodes]


def test_export_prints_a_file(capsys):
    views = [node(one, config=typed(one, f"walt-net,{HOME}").config, image="debian") for one in ("vnode1", "vnode2")]
    client = FakeClient(get_nodes=views, get_labs=[LAB])
    assert run(["lab", "export", "mine", "--nodes", "vnode1, vnode2"], client) == 0
    assert client.calls == [("nodes.get_nodes", {"selection": "vnode1,vnode2"})]
    assert capsys.readouterr().out == (
        "name: mine\nnodes:\n  vnode1: {image: debian}\n  vnode2: {image: debian}\nnetworks:\n  home-net:\n"
        "    external: true\n    link: lat=10ms\n    nodes: [vnode1, vnode2]\n"
    )
    assert run(["lab", "export", "demo"], client) == 0


EVENTS = """
events:
  - at 10s vnode1 -- vnode2: lat=80ms
  - at 20s every 10s until 60s vnode2 -- vnode1: loss=1%
"""


def test_a_lab_is_started_with_all_its_links(tmp_path, capsys):
    (tmp_path / "demo.yml").write_text(FILE + EVENTS)
    client = FakeClient(schedule_links={"start_us": 1_000_000, "links": [], "traces": []})
    assert run(["lab", "start", str(tmp_path / "demo.yml")], client) == 0
    words = ("at=10s", "lat=80ms", "at=20s", "every=10s", "until=60s", "loss=1%")
    ports = [{"nodes": one, "network": "demo/vnode1--vnode2", "words": words} for one in ("vnode1", "vnode2")]
    assert client.calls == [("nodes.schedule_links", {"ports": ports, "after": 2.0})]


def test_a_lab_without_events_is_not_started(file, capsys):
    assert run(["lab", "start", file], FakeClient()) == 4
    assert capsys.readouterr().err == "walt: demo has no events; 'walt help labs' tells how\n"


def test_an_unknown_trace_is_shown_where_the_file_names_it(tmp_path, capsys):
    path = tmp_path / "x.yml"
    path.write_text("name: demo\nnodes: [a, b]\nlinks:\n  - a -- b:\n      a: lat=10ms,trace=lte\n")
    missing = fault(["links", "a -- b", "a", "trace=lte"], "NotFound", "no trace 'lte'; yours: none")
    assert run(["lab", "apply", str(path)], FakeClient(apply_lab=applied(faults=[missing]))) == 3
    assert capsys.readouterr().err == f"walt: {path}:5:19: no trace 'lte'; yours: none\n"
