"""Nodes as rows of the database, and back."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from services.nodes.domain import addresses
from services.nodes.domain.addresses import AddressedPort
from services.nodes.domain.model import Node, Status
from walt.contracts import names, serialization
from walt.contracts.nodes import WALT_NET_ID, Disk, Network
from walt.contracts.settings import NodeConfig

WALT_NET = Network(WALT_NET_ID, names.WALT_NET, "")
CONFIGS_CACHED = 4096

Ports = Mapping[str, AddressedPort]  # of one node, by the name of the network

_SAME = (
    *("id", "name", "host", "owner", "power", "boot", "version"),
    *("image", "ip", "hard", "type", "owner_account", "lab"),
    *("moves_to", "is_leaving", "moves_from", "move"),
)


def node_of(row: Mapping[Any, Any], ports: Ports, disks: tuple[Disk, ...]) -> Node:
    config = _config(json.dumps(row["config"]))
    return Node(
        **{column: row[column] for column in _SAME},
        config=config,
        status=Status(
            row["state"], row["since"], row["reason"], row["reported_boot"], row["reported_sequence"], row["cause"]
        ),
        interfaces=addresses.interfaces(config.networks, ports),
        disks=disks,
    )


def values_of(node: Node) -> dict[str, Any]:
    return {
        **{column: getattr(node, column) for column in _SAME if column != "id"},
        "config": serialization.dump(node.config),
        "ram_bytes": node.config.ram_bytes,
        **status_values(node.status),
    }


def status_values(status: Status) -> dict[str, Any]:
    return {
        "state": status.state,
        "since": status.since,
        "reason": status.reason,
        "reported_boot": status.boot,
        "reported_sequence": status.sequence,
        "cause": status.cause,
    }


@functools.lru_cache(CONFIGS_CACHED)
def _config(text: str) -> NodeConfig:
    """Cached, because loading takes 0.3 ms and most nodes share a few configurations."""
    return serialization.load(NodeConfig, json.loads(text))
