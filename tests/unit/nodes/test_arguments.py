"""Arguments from the bus, of any kind and size: each is refused with a sentence that repeats little of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.contracts.errors import InvalidRequest, NotFound
from services.contracts.settings import NodeConfig
from services.contracts.vmrunner import BOOTED
from services.nodes import arguments, model, selection
from services.nodes.arguments import MAX_CHARACTERS
from services.nodes.model import Node, Status

NODE = Node("vnode1", "h", "alice", "default", "10.0.0.2", NodeConfig(), Status(BOOTED, 0.0, ""), id=1)


NO_TEXTS = ["", 7, None, [], {}, "a\0", "a\nb", "\ud800", "\x1b[31m", "x" * (MAX_CHARACTERS + 1), [["x"]] * 10**6]


@pytest.mark.parametrize("value", NO_TEXTS)
def test_text_that_is_none(value):
    with pytest.raises(InvalidRequest, match="^image.*; allowed: ") as refused:
        arguments.text("image", value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", NO_TEXTS)
def test_node_set_that_is_none(value):
    with pytest.raises(InvalidRequest, match="node set.*; allowed: ") as refused:
        arguments.node_set(value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "value", ["abc", None, ["a", 1], ["x"] * MAX_CHARACTERS, ["x" * MAX_CHARACTERS], [["x"]] * 10**6]
)
def test_list_that_is_none(value):
    with pytest.raises(InvalidRequest, match="^names.*; allowed: ") as refused:
        arguments.texts("names", value)
    assert len(str(refused.value)) < 200


def test_longest():
    names = ["n" * 63] * (MAX_CHARACTERS // 64)
    assert arguments.texts("names", names) == names and len(names) == 1024
    assert arguments.text("image", "é ç,x") == arguments.node_set("é ç,x") == "é ç,x"


def test_thousands_of_unknown_names_are_told_without_a_search_for_each(monkeypatch):
    searched = []
    monkeypatch.setattr("difflib.get_close_matches", lambda name, among, n: searched.extend(among) or [])
    with pytest.raises(NotFound) as refused:
        selection.select(",".join(f"n{number}" for number in range(1000)), [NODE], "alice")
    assert len(refused.value.args) == 1000
    assert searched == [NODE.name] * selection.MOST_HINTS


def test_node_sets_are_of_nodes_that_are_there():
    free, gone = replace(NODE, name="b", owner=""), model.removed(replace(NODE, name="gone"))
    others = replace(NODE, name="a", owner="bob")

    def names(text, user="alice"):
        return [node.name for node in selection.select(text, [NODE, gone, free, others], user)]

    assert names("all-nodes") == ["a", "b", "vnode1"]
    assert (names("my-nodes"), names("my-nodes", "carol"), names("free-nodes")) == (["vnode1"], [], ["b"])
    assert names("vnode1,free-nodes,VNODE1,a") == ["vnode1", "b", "a"]
    with pytest.raises(NotFound, match="no node 'gone'$"):
        names("gone")
    with pytest.raises(NotFound, match=r"no node 'vnode2' \(did you mean vnode1\?\)"):
        names("vnode2")
    with pytest.raises(NotFound, match="no node in 'my-nodes'; see"):
        selection.select_some("my-nodes", [free], "alice")
    with pytest.raises(NotFound, match="no node 'gone'$"):
        selection.find("gone", [NODE, gone])
    assert selection.find("VNode1", [gone, NODE]) is NODE
