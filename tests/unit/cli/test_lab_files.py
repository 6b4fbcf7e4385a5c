"""Lab files: what is read, and what is said of 81 wrong ones (wrong_files/*.yml, each ends with what is expected)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.lab import grammar, writer
from cli.lab.yaml_tree import MAX_FILE_BYTES, FileFaults
from walt.contracts.lab_check import MAX_FAULTS, MAX_NODES, check
from walt.contracts.labs import LabDocument, LabEvent, LabLink, LabNetwork, LabNode, LabPort, link_network
from walt.contracts.settings import show_settings

WRONG = sorted((Path(__file__).parent / "wrong_files").glob("*.yml"))
BLOG = b"""\
name: demo
nodes: [vnode1, vnode2]
links:
  - vnode1 -- vnode2: lat=10ms
"""


def document(text):
    reading = grammar.read(text if isinstance(text, bytes) else text.encode())
    assert reading.all_findings() == []
    return reading.document


def networks(text):
    """{node: its setting `networks`}"""
    return {node.name: show_settings(node.config)["networks"] for node in check(document(text)).nodes}


def said_of(data):
    try:
        found = grammar.read(data).all_findings()
    except FileFaults as faults:
        found = faults.findings
    return [f"{one.position.line}:{one.position.column}: {one.sentence}" for one in found]


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_wrong_file(path):
    data = path.read_bytes()
    expected = re.findall(r"^# expect: (.*)$", data.decode(errors="replace"), re.MULTILINE)
    assert expected and said_of(data.partition(b"# expect: ")[0]) == expected


def test_there_are_many_wrong_files():
    assert len(WRONG) >= 60


def test_four_lines_are_enough():
    ends = (LabPort("vnode1", ("lat=10ms",)), LabPort("vnode2", ("lat=10ms",)))
    assert document(BLOG) == LabDocument("demo", (LabNode("vnode1"), LabNode("vnode2")), (), (LabLink(ends),))
    use = "walt-net,demo/vnode1--vnode2[lat=10ms]"
    assert networks(BLOG) == {"vnode1": use, "vnode2": use}


def test_ranges_defaults_and_options_of_one_end():
    text = """
name: web
defaults: {ram: 1G, image: debian}
nodes:
  lb: {ram: 2G, disks: "1G,2G[template=ext4]"}
  web[08-10]:
networks:
  back: {link: lat=1ms bw=1Mbps, nodes: {"web[08-10]": , lb: lat=2ms}}
links:
  - web[08-10] -- lb: {lb: "lat=5ms, loss=1%"}
"""
    read = document(text)
    assert [node.name for node in read.nodes] == ["lb", "web08", "web09", "web10"]
    assert read.nodes[0].settings == ("ram=2G", "disks=1G,2G[template=ext4]") and read.nodes[0].image == "debian"
    assert read.nodes[1] == LabNode("web08", "debian", ("ram=1G",))
    assert networks(text)["lb"] == (
        "walt-net,web/back[lat=2ms,bw=1Mbps],web/lb--web08[lat=5ms,loss=1%],"
        "web/lb--web09[lat=5ms,loss=1%],web/lb--web10[lat=5ms,loss=1%]"
    )
    assert networks(text)["web09"] == "walt-net,web/back[lat=1ms,bw=1Mbps],web/lb--web09"


def test_an_end_of_a_link_has_no_carrier():
    text = """
name: cut
nodes: [a, b]
links: [a -- b: {a: "lat=1ms,carrier=down", b: carrier=up}]
"""
    assert networks(text) == {"a": "walt-net,cut/a--b[lat=1ms,carrier=down]", "b": "walt-net,cut/a--b"}


def test_networks_of_a_node_come_before_those_that_it_is_listed_in():
    text = """
name: demo
nodes:
  a: {networks: "mine[lat=1ms],walt-net,shared"}
  b:
networks:
  shared: {external: true, nodes: [b]}
  other: [a, b]
"""
    assert networks(text) == {"a": "demo/mine[lat=1ms],walt-net,shared,demo/other", "b": "walt-net,shared,demo/other"}


def test_names_are_as_they_are_stored():
    assert [node.name for node in check(document("name: d\nnodes: [A, b]\nlinks: [B -- a]\n")).nodes] == ["a", "b"]


def test_anchors_stand_for_what_they_name():
    read = document("name: d\nnodes:\n  a: &big {ram: 2G}\n  b: *big\n")
    assert read.nodes[0].settings == read.nodes[1].settings == ("ram=2G",)


def test_network_of_a_link_has_one_name_whatever_the_order():
    assert link_network("demo", "b", "a") == link_network("demo", "a", "b") == "a--b"
    long = link_network("a-lab-of-20-letters-", "frontend-of-paris", "backend-of-paris")
    assert re.fullmatch(r"link-[0-9a-f]{6}", long)


@pytest.mark.parametrize(
    "read",
    [
        document(BLOG),
        LabDocument(
            "demo",
            (
                LabNode("a", "alice/mine:2", ("disks=1G,2G[template=ext4]", "boot.delay=0")),
                LabNode("null"),
                LabNode("y"),
            ),
            (
                LabNetwork("home-net", (LabPort("a"), LabPort("y"))),
                LabNetwork("same", (LabPort("a", ("lat=1ms", "loss=0.5%")), LabPort("y", ("lat=1ms", "loss=0.5%")))),
                LabNetwork("far", (LabPort("a", ("lat=1ms",)), LabPort("y")), is_external=True),
                LabNetwork("unused", (), is_external=True),
            ),
            (LabLink((LabPort("a"), LabPort("null"))), LabLink((LabPort("a", ("bw=1Mbps",)), LabPort("y")))),
            events=(
                LabEvent(("at=10s", "every=5s", "until=60s"), ("a", "null"), "", ("lat=80ms", "loss=1%")),
                LabEvent(("at=1s",), ("a",), "home-net", ("bw=1Mbps",)),
            ),
        ),
    ],
    ids=["blog", "everything"],
)
def test_what_is_written_reads_back(read):
    assert grammar.read(writer.text_of(read).encode()).document == read


def test_hostile_files_are_refused_at_once():
    assert said_of(b"x" * (MAX_FILE_BYTES + 1)) == [
        f"1:1: the file has {MAX_FILE_BYTES + 1} bytes; allowed: at most {MAX_FILE_BYTES}"
    ]
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join(10 * [f'*{old}'])}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
    )
    assert len(said_of(f"name: d\n{bomb}nodes: *g\n".encode())) < 30
    many = f"name: d\nnodes:\n  a[1-{MAX_NODES}]:\n  b[1-{MAX_NODES}]:\n"
    assert said_of(many.encode()) == [
        f"3:3: {2 * MAX_NODES} nodes are too many; allowed: at most {MAX_NODES} in one lab"
    ]
    faulty = "name: d\nnodes:\n" + "".join(f"  a{number}: {{rma: 1G}}\n" for number in range(MAX_NODES))
    assert len(said_of(faulty.encode())) == MAX_FAULTS
