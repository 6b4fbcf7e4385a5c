"""Node sets: what is to be read for them, and what of them is not there."""

from __future__ import annotations

import pytest

from services.nodes.domain import selection
from tests.unit.nodes.sample import NODE
from walt.contracts.errors import NotFound


def test_thousands_of_unknown_names_are_reported_without_a_search_for_each(monkeypatch):
    searched = []
    monkeypatch.setattr("difflib.get_close_matches", lambda name, among, n: searched.extend(among) or [])
    error = selection.not_found([f"n{number}" for number in range(1000)], ["vnode1"])
    assert len(error.args) == 1000
    assert searched == ["vnode1"] * selection.MAX_HINTS


def test_selection_says_what_is_to_be_read():
    selected = selection.parse("B,a,my-nodes,b,free-nodes", "alice-1")
    assert (selected.names, selected.accounts, selected.is_all) == (["b", "a"], ["alice-1", ""], False)
    assert selection.parse("a,all-nodes", "alice-1").is_all
    assert selection.without(selected, {"b"}).names == ["a"]
    assert selection.unknown_names(selected, {"a"}) == ["b"]


def test_an_empty_set_is_refused():
    selection.check_not_empty("my-nodes", [NODE])
    with pytest.raises(NotFound, match="no node in 'my-nodes'; list the nodes with: walt node show all-nodes"):
        selection.check_not_empty("my-nodes", [])
