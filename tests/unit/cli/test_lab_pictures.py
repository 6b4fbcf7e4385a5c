"""Pictures of labs, and labs from containerlab files."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from cli.commands.lab import PICTURES
from cli.lab import grammar, graph, writer
from cli.tree import run
from tests.unit.cli.fakes import FakeClient
from walt.contracts.lab_check import check

LAB = """\
name: demo
nodes: [a, b, c, net]
networks:
  net: [a, b, c]
  pair: [a, b]
links:
  - a -- c: lat=10ms
  - b -- c: {b: lat=1ms, c: "loss=1%"}
"""
CLAB = """\
name: a-name-that-is-too-long-here
mgmt: {network: x}
topology:
  nodes:
    srl: {kind: nokia_srlinux, memory: 2GB, cpu: 2}
    ceos:
      kind: arista_ceos
    bad_name:
  links:
    - endpoints: ["srl:e1-1", "ceos:eth1"]
      netem: {delay: 10ms, loss: 1, rate: 1000, slot: 3}
    - endpoints: ["srl:e1-2", "ceos:eth2"]
    - endpoints: ["srl:e1-3", "host:srl"]
"""


def picture():
    nodes = check(grammar.read(LAB.encode()).document).nodes
    return graph.picture("demo", [node.name for node in nodes], graph.of_nodes(nodes))


def test_networks_of_two_are_edges_and_others_are_points():
    found = picture()
    assert (found.nodes, found.hubs) == (("a", "b", "c", "net"), ("net (network)",))
    assert found.edges == (
        ("a", "net (network)", ()),
        ("b", "net (network)", ()),
        ("c", "net (network)", ()),
        ("a", "b", ("pair",)),
        ("a", "c", ("lat=10ms",)),
        ("b", "c", ("b: lat=1ms", "c: loss=1%")),
    )


@pytest.mark.parametrize("kind", ["svg", "drawio"])
def test_it_is_xml(kind):
    root = ElementTree.fromstring(graph.FORMATS[kind](picture()))
    words = {text for one in root.iter() for text in (one.text, one.get("value")) if text}
    assert {"a", "net", "net (network)", "lat=10ms"} <= words


def test_dot_and_mermaid():
    dot, mermaid = graph.as_dot(picture()), graph.as_mermaid(picture())
    assert '  "a" -- "c" [label="lat=10ms"];\n' in dot and '  "net (network)" [shape=ellipse];\n' in dot
    assert '  n1 ---|"b: lat=1ms<br/>c: loss=1%"| n2\n' in mermaid and mermaid.startswith("graph LR\n")


def test_what_was_measured_is_on_the_edges_of_a_lab_that_runs(capsys):
    port = {
        "owner": "alice",
        "interface": "ens3",
        "mac": "",
        "state": "up",
        "asked": "lat=10ms",
        "measured_latency_us": 10_100,
    }
    ports = [{**port, "node": node, "network": "demo/a--b"} for node in ("a", "b")]
    lab = {
        "name": "demo",
        "owner": "alice",
        "applied_at": 0.0,
        "document": {"name": "demo", "nodes": []},
        "nodes": ["a", "b"],
    }
    assert run(["lab", "graph", "demo", "-o", "dot"], FakeClient(get_labs=[lab], get_ports=ports)) == 0
    assert '"a" -- "b" [label="lat=10ms (measured 10.1ms)"]' in capsys.readouterr().out


def test_containerlab_file(tmp_path, capsys):
    path = tmp_path / "x.clab.yml"
    path.write_text(CLAB)
    assert run(["lab", "convert", str(path)], FakeClient()) == 0
    shown = capsys.readouterr()
    lab = grammar.read(shown.out.encode())
    assert lab.all_findings() == [] and writer.text_of(lab.document) == shown.out
    assert shown.out == (
        "name: a-name-that-is-too-l\nnodes:\n  srl: {ram: 2G, cpu.cores: 2}\n  ceos:\nnetworks:\n  link1: [srl, ceos]\n"
        "links:\n  - srl -- ceos: lat=10ms,loss=1%,bw=1000kbps\n"
    )
    said = shown.err.splitlines()
    assert said[0] == f"{path}:2:1: 'mgmt' is left out" and len(said) == 7
    assert f"{path}:12:7: a link that does not join" in shown.err or "does not join two nodes" in shown.err


@pytest.mark.parametrize("text", ["", "[]", "name: x\n", "topology: {nodes: }\n", "topology: [\n"])
def test_file_that_is_none_of_containerlab(text, tmp_path, capsys):
    path = tmp_path / "x.clab.yml"
    path.write_text(text)
    assert run(["lab", "convert", str(path)], FakeClient()) == 2
    assert capsys.readouterr().err.startswith(f"walt: {path}:")


def test_quotes_of_json_are_those_of_dot():
    strange = graph.Picture('a"b', ('x"y',), (), ())
    assert json.dumps('x"y') in graph.as_dot(strange)


def test_every_format_is_offered():
    assert tuple(graph.FORMATS) == PICTURES
