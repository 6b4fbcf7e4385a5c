"""Nodes for the tests of the registry."""

from __future__ import annotations

from collections.abc import Collection

from services.nodes.domain import creation
from services.nodes.domain.creation import NodeRequest
from services.nodes.domain.model import Node, RequestContext, Status
from services.nodes.domain.placement import HostPool, HostState
from walt.contracts.settings import NodeConfig
from walt.contracts.vmrunner import DELAYING

ALICE = RequestContext("alice", 1.0, account="alice-1")
NODE = Node(
    "n",
    "h",
    "alice",
    "default",
    "10.0.0.2",
    NodeConfig(),
    Status(DELAYING, 0.0, "", 2, 5),
    id=1,
    boot=2,
    owner_account=ALICE.account,
)
POOL = HostPool("h", "10.0.0.0/28", (HostState("h"),))


def new_nodes(request: NodeRequest, taken: Collection[str] = (), context: RequestContext = ALICE) -> list[Node]:
    """Where no others are. taken: addresses of others."""
    return creation.new_nodes(request, {}, set(taken), POOL, context)
