"""Which side is a node, and what a copy is called."""

import pytest

from cli.transfer.copy_request import CopyPath
from cli.transfer.node_copy import parse_endpoint, parse_request
from walt.contracts.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "endpoint", "name"),
    [
        ("vnode1:/etc/hosts", CopyPath("vnode1", "/etc/hosts"), "hosts"),
        ("vnode1:", CopyPath("vnode1", "."), ""),
        ("vnode1:~", CopyPath("vnode1", "."), ""),
        ("vnode1:~/x/", CopyPath("vnode1", "x/"), "x"),
        ("vnode1:/", CopyPath("vnode1", "/"), ""),
        ("vnode1:a:b", CopyPath("vnode1", "a:b"), "a:b"),
        ("./a:b", CopyPath("", "./a:b"), "a:b"),
        ("/x/a:b", CopyPath("", "/x/a:b"), "a:b"),
        ("here", CopyPath("", "here"), "here"),
        ("a/..", CopyPath("", "a/.."), ""),
        (":x", CopyPath("", ":x"), ":x"),
    ],
)
def test_endpoints(text, endpoint, name):
    assert parse_endpoint(text) == endpoint
    assert endpoint.name == name


def test_several_sources_need_a_directory():
    assert parse_request(["a", "b"], "n:c").needs_directory
    assert parse_request(["a"], "n:c/").needs_directory
    assert not parse_request(["a"], "n:c").needs_directory


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
        parse_request(sources, target)
