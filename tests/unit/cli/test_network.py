"""`walt network`: ports as rows, and the order to change a link."""

from __future__ import annotations

import csv
import io
import json

import pytest

from cli.commands import network
from cli.tree import run
from tests.unit.cli.fakes import FakeClient, node
from walt.contracts.errors import NotFound


def traffic(frames=0, dropped=0, late=0):
    return {"frames": frames, "bytes": 100 * frames, "dropped": dropped, "late": late}


def port(name, network="walt-net", **changes):
    return {
        "node": name,
        "owner": "alice",
        "network": network,
        "interface": "ens2",
        "mac": "52:54:00:00:00:01",
        "state": "up",
        "asked": "",
        "applied": "",
        "backend": "direct",
        "compensation_us": 0,
        "measured_latency_us": None,
        "up": traffic(),
        "down": traffic(),
        "addresses": [],
        "applied_addresses": None,
        "address_reason": "",
        **changes,
    }


SHAPED = port(
    "a",
    "home-net",
    interface="ens3",
    asked="lat=10ms,bw=5Mbps",
    applied="lat=9712us,bw=5Mbps",
    backend="cable",
    compensation_us=288,
    measured_latency_us=10_012,
    up=traffic(10, 1, 2),
    down=traffic(20, 3, 0),
)
MISSING = port("b", "home-net", asked="lat=1s", applied=None, backend="", state="comes with the next boot")


def shown(capsys, ports, line=""):
    assert run(["network", "show", *line.split()], FakeClient(get_ports=ports)) == 0
    return capsys.readouterr().out


def words(line):
    return " ".join(line.split())


def test_a_row_per_port(capsys):
    assert [*map(words, shown(capsys, [port("a", up=traffic(7)), MISSING, SHAPED]).splitlines())] == [
        "network node interface backend link delay applied measured frames drops late state",
        "home-net a ens3 cable lat=10ms,bw=5Mbps 10ms 9.712ms 10.012ms 30 4 2 up",
        "home-net b ens2 lat=1s 1s 0 0 0 comes with the next boot",
        "walt-net a ens2 direct 7 0 0 up",
    ]


def test_frames_that_walt_net_refused_are_counted(capsys):
    head, row = map(words, shown(capsys, [port("a", refused=12)]).splitlines())
    assert head == "network node interface backend frames drops late refused state"
    assert row.endswith("0 0 0 12 up")


def test_plain_ports_make_a_narrow_table(capsys):
    head = shown(capsys, [port("a")]).splitlines()[0]
    assert words(head) == "network node interface backend frames drops late state"


def test_an_address_that_a_running_node_has_not_is_told_with_the_reason(capsys):
    asked = {"addresses": ["10.64.0.2/24", "fd77::2/64"]}
    as_asked = port("a", **asked, applied_addresses=asked["addresses"])
    head, row = shown(capsys, [as_asked]).splitlines()
    assert words(head) == "network node interface address backend frames drops late state" and "10.64.0.2/24" in row
    behind = port("b", **asked, applied_addresses=["10.64.0.1/24"], address_reason="it is being set")
    without = port("c", **asked, applied_addresses=[], address_reason="no ip; at its next boot")
    unknown = port("d", **asked, address_reason="no ssh; it is tried again")
    shown_now = [words(row) for row in shown(capsys, [as_asked, behind, without, unknown]).splitlines()]
    assert shown_now[0].startswith("network node interface address address now backend")
    assert [row.partition("10.64.0.2/24 ")[2].partition(" direct")[0] for row in shown_now[2:]] == [
        "10.64.0.1/24 (it is being set)",
        "none (no ip; at its next boot)",
        "not known (no ssh; it is tried again)",
    ]


def test_wide_tells_each_direction(capsys):
    head, row, *_ = shown(capsys, [SHAPED], "-o wide").splitlines()
    cells = dict(zip(head.replace("up ", "up_").replace("down ", "down_").split(), row.split(), strict=True))
    assert (cells["owner"], cells["mac"], cells["platform"]) == ("alice", "52:54:00:00:00:01", "288us")
    assert [cells[f"up_{one}"] for one in network.COUNTERS] == ["10", "1", "2"]
    assert [cells[f"down_{one}"] for one in network.COUNTERS] == ["20", "3", "0"]


def test_json_is_what_the_service_said(capsys):
    assert json.loads(shown(capsys, [SHAPED], "-o json")) == [SHAPED]


def test_csv_has_plain_values(capsys):
    (row,) = csv.DictReader(io.StringIO(shown(capsys, [SHAPED], "-o csv")))
    assert (row["delay_us"], row["applied_delay_us"], row["measured_latency_us"]) == ("10000", "9712", "10012")
    assert (row["asked"], row["frames"], row["up_late"]) == ("lat=10ms,bw=5Mbps", "30", "2")


@pytest.mark.parametrize(
    ("line", "selection"), [("", "my-nodes"), ("--all", "all-nodes"), ("a,free-nodes", "a,free-nodes")]
)
def test_show_asks_for(line, selection, capsys):
    client = FakeClient(get_ports=[])
    assert run(["network", "show", *line.split()], client) == 0
    assert client.calls == [("nodes.get_ports", {"selection": selection})]
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("no ports")


def test_link_says_what_it_is_now(capsys):
    after = node("a", config={"networks": "walt-net,home-net[lat=20ms,loss=1%]"})
    client = FakeClient(link_nodes={"nodes": [after], "notes": ["a note"]}, get_ports=[])
    assert run(["network", "link", "a", "home-net", "lat=20ms", "loss=1%"], client) == 0
    asked = {"selection": "a", "network": "home-net", "options": ["lat=20ms", "loss=1%"], "replace": False}
    assert client.calls == [("nodes.link_nodes", asked), ("nodes.get_ports", {"selection": "a"})]
    assert capsys.readouterr() == ("", "a: the link to home-net is lat=20ms,loss=1%\na note\n")


def test_a_cut_link_says_so(capsys):
    after = node("a", config={"networks": "walt-net,home-net[carrier=down]"})
    client = FakeClient(link_nodes={"nodes": [after], "notes": []})
    assert run(["network", "link", "a", "home-net", "carrier=down"], client) == 0
    assert capsys.readouterr().err == "a: the link to home-net is carrier=down\n"
    cut = {**SHAPED, "asked": "lat=10ms,carrier=down", "state": "no carrier"}
    row = words(shown(capsys, [cut]).splitlines()[1])
    assert row == "home-net a ens3 cable lat=10ms,carrier=down 10ms 9.712ms 10.012ms 30 4 2 no carrier"


def test_link_replaced_by_a_plain_one(capsys):
    client = FakeClient(link_nodes={"nodes": [node("a", config={"networks": "walt-net,lab"})], "notes": []})
    assert run(["network", "link", "a", "lab", "--replace"], client) == 0
    assert (client.calls[0][1]["options"], client.calls[0][1]["replace"]) == ([], True)
    assert capsys.readouterr().err == "a: the link to lab is plain\n"


@pytest.mark.parametrize(
    ("line", "status"), [("show a --all", 2), ("link a", 2), ("link", 2), ("link a x lat=1ms", 3), ("show -o xml", 2)]
)
def test_exit_codes(line, status, capsys):
    assert run(["network", *line.split()], FakeClient(link_nodes=NotFound("node 'a' has no network 'x'"))) == status


LEO = {
    "name": "leo",
    "at": 0.0,
    "loops": True,
    "rows": 33,
    "length_us": 60_000_000,
    "columns": ["rate_bps", "latency_us", "loss_ppm"],
    "mean_bps": 143_000_000,
    "min_latency_us": 21_000,
    "max_latency_us": 54_000,
    "used_by": ["vnode1 (home-net)"],
}


def test_a_trace_that_comes_along_is_imported(capsys):
    client = FakeClient(import_trace=LEO)
    assert run(["network", "trace", "import", "handover", "leo", "--once"], client) == 0
    ((method, arguments),) = client.calls
    assert (method, arguments["name"], arguments["content"]["loops"]) == ("nodes.import_trace", "leo", False)
    assert arguments["content"]["text"].startswith("keep_us rate_bps latency_us loss_ppm\n80000 0 47000 0\n")
    assert capsys.readouterr().err == "leo: imported, 60 s in 33 rows, 143 Mbps on average\n"


def test_a_file_of_mahimahi_is_imported(tmp_path):
    (tmp_path / "lte").write_text("1\n1\n3\n")
    client = FakeClient(import_trace=LEO)
    assert run(["network", "trace", "import", str(tmp_path / "lte"), "lte", "--as", "mahimahi"], client) == 0
    content = {"text": "keep_us pass_bytes\n1000 1500\n2000 3000\n", "loops": True}
    assert client.calls == [("nodes.import_trace", {"name": "lte", "content": content})]


def test_faults_of_a_trace_name_the_file_and_the_line(tmp_path, capsys):
    (tmp_path / "lte").write_text("at,bw\n0s,fast\n1s,\n")
    assert run(["network", "trace", "import", str(tmp_path / "lte"), "lte"], FakeClient()) == 2
    told = capsys.readouterr().err
    assert told.startswith(
        f"walt: {tmp_path}/lte: line 2: 'fast' is not a value of bw; allowed: 0, or a number above 0"
    )
    assert run(["network", "trace", "import", str(tmp_path / "none"), "lte"], FakeClient()) == 3
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_traces_are_listed_and_shown(capsys):
    assert run(["network", "trace", "list"], FakeClient(get_traces=[LEO])) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert words(heading) == "name length rows at its end mean rate delay age"
    assert words(row).startswith("leo 60 s 33 begins again 143 Mbps 21ms to 54ms ")
    assert run(["network", "trace", "show", "leo"], FakeClient(get_traces=[LEO])) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("vnode1 (home-net)")
    assert run(["network", "trace", "remove", "leo"], FakeClient(remove_trace={})) == 0


def test_a_schedule_is_sent_as_it_is_written(capsys):
    client = FakeClient(schedule_links={"start_us": 1_000_000_250_000, "links": ["vnode1 (home-net)"], "traces": []})
    assert run(["network", "schedule", "vnode1", "home-net", "at=10s", "lat=80ms", "--in", "5"], client) == 0
    port = {"nodes": "vnode1", "network": "home-net", "words": ("at=10s", "lat=80ms")}
    assert client.calls == [("nodes.schedule_links", {"ports": [port], "after": 5.0})]
    assert capsys.readouterr().err.startswith("vnode1 (home-net): changes by itself, beginning at ")


SHORT = port("a", "home-net", asked="lat=1ms", applied="", compensation_us=2310)
TOLD = "a: lat=1ms on home-net is less than the 2.31ms that its frames take by themselves (platform, way between hosts)"


def test_a_delay_that_cannot_be_kept_is_told_with_what_frames_take(capsys):
    traced = port("b", "home-net", asked="lat=20ms", applied="lat=17690us", compensation_us=2310)
    assert run(["network", "show"], FakeClient(get_ports=[SHORT, traced, port("c", compensation_us=99)])) == 0
    assert capsys.readouterr().err.splitlines() == [TOLD]


@pytest.mark.parametrize(("option", "is_told"), [("lat=1ms", True), ("loss=1%", False)])
def test_it_is_told_when_it_is_configured_too(capsys, option, is_told):
    linked = {"nodes": [node("a", config={"networks": f"walt-net,home-net[{option}]"})], "notes": []}
    client = FakeClient(link_nodes=linked, get_ports=[SHORT, port("a", "other", asked="lat=1ms", compensation_us=5000)])
    assert run(["network", "link", "a", "home-net", option], client) == 0
    assert (capsys.readouterr().err.splitlines()[1:] == [TOLD]) is is_told


def test_a_node_that_is_configured_is_told_too(capsys):
    client = FakeClient(configure_nodes={"nodes": [node("a")], "notes": []}, get_ports=[SHORT])
    assert run(["node", "config", "a", "networks=walt-net,home-net[lat=1ms]"], client) == 0
    assert TOLD in capsys.readouterr().err.splitlines()
