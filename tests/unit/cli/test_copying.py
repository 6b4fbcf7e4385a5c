"""Which side is a node, and what a copy is called."""

import pytest

from cli.copying import Place, parse_copy, parse_place
from services.contracts.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "place", "name"),
    [
        ("vnode1:/etc/hosts", Place("vnode1", "/etc/hosts"), "hosts"),
        ("vnode1:", Place("vnode1", "."), ""),
        ("vnode1:~", Place("vnode1", "."), ""),
        ("vnode1:~/x/", Place("vnode1", "x/"), "x"),
        ("vnode1:/", Place("vnode1", "/"), ""),
        ("vnode1:a:b", Place("vnode1", "a:b"), "a:b"),
        ("./a:b", Place("", "./a:b"), "a:b"),
        ("/x/a:b", Place("", "/x/a:b"), "a:b"),
        ("here", Place("", "here"), "here"),
        ("a/..", Place("", "a/.."), ""),
        (":x", Place("", ":x"), ":x"),
    ],
)
def test_places(text, place, name):
    assert parse_place(text) == place
    assert place.name == name


def test_several_sources_need_a_directory():
    assert parse_copy(["a", "b"], "n:c").needs_directory
    assert parse_copy(["a"], "n:c/").needs_directory
    assert not parse_copy(["a"], "n:c").needs_directory


@pytest.mark.parametrize(
    ("sources", "target", "said"),
    [
        (["a"], "b", "both on this computer"),
        (["n:a", "b"], "c", "'b' and 'c' are both on this computer"),
        (["n:a"], "m:b", "both on nodes"),
        (["a", "n:b"], "m:c", "'n:b' and 'm:c' are both on nodes"),
        ([""], "n:b", "'' is not a path"),
    ],
)
def test_one_side_is_a_node(sources, target, said):
    with pytest.raises(InvalidRequest, match=said):
        parse_copy(sources, target)
