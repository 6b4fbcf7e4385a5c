"""What is shown of nodes whose host does not answer."""

from __future__ import annotations

import pytest

from services.nodes.domain import hosts
from walt.contracts.nodes import PHYSICAL, VIRTUAL, NodeView


def view(node_type):
    return NodeView(
        "one", "alice", "booted", 5.0, "ssh answers", node_type, "10.0.0.2", "52:54:00:00:00:01", "i", "lab"
    )


def test_a_virtual_node_of_a_silent_host_is_unreachable():
    seen = hosts.seen_from_here(view(VIRTUAL), {"lab": 99.0})
    assert (seen.state, seen.since, seen.cause) == ("unreachable", 99.0, hosts.CAUSE_HOST_UNREACHABLE)


@pytest.mark.parametrize("node", [view(PHYSICAL), view(VIRTUAL)], ids=("a machine", "a node of another host"))
def test_others_are_as_they_were_reported(node):
    silent = {"lab": 99.0} if node.type == PHYSICAL else {"other": 99.0}
    assert hosts.seen_from_here(node, silent) == node
