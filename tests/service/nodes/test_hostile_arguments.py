"""Whatever a program sends as an argument, the answer is a result or an error of the contract."""

from __future__ import annotations

import pytest

from services.nodes.service import NodesService
from tests.support.hostile_arguments import faults
from walt.contracts import nodes
from walt.contracts.errors import InvalidRequest


def test_no_argument_of_any_kind_is_a_fault_of_the_service(platform):
    platform.call("alice", "create_nodes", ["a"])
    assert faults(platform.user("alice"), NodesService, {}) == []


def test_a_name_that_another_service_hands_on_is_looked_at_too(platform):
    for name in ("", "a\udc80", "\ud800", "x" * 70_000):
        with pytest.raises(InvalidRequest):
            platform.bus.call("nodes", "authorize", user="alice", name=name, action=nodes.PING)
