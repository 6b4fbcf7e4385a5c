"""Waiting for a state of nodes: what to say of what was seen (pure), and the loop that looks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypedDict

from cli.output import Progress, age, say
from services.contracts.errors import EXIT_TIMEOUT, Failed, Unreachable
from services.contracts.names import check_one_node
from services.contracts.vmrunner import BOOTED, FAILED

POLL_S = 0.3
AWAY_S = 30.0  # how long nodes (or the broker) may be away before waiting for it is given up


class Node(TypedDict):
    """`services.contracts.nodes.NodeView` as it comes over the wire."""

    name: str
    owner: str
    state: str
    since: float
    reason: str
    type: str
    ip: str
    mac: str
    image: str
    host: str
    config: dict[str, str]


class TimedOut(Failed):
    exit_code = EXIT_TIMEOUT


class Watch:
    """What has been seen and said so far of the nodes that somebody waits for, to be in state `wanted`."""

    def __init__(self, nodes: Sequence[Node], wanted: str = BOOTED) -> None:
        self.wanted = wanted
        self.names = [node["name"] for node in nodes]
        self._nodes = list(nodes)
        self._told: set[tuple[str, str]] = set()

    @property
    def missing(self) -> list[Node]:
        return [node for node in self._nodes if node["state"] != self.wanted]

    def update(self, nodes: Sequence[Node]) -> list[str]:
        """Sentences that are news: why a node failed, once a reason."""
        self._nodes = list(nodes)
        news = [(node["name"], node["reason"]) for node in self.missing if node["state"] == FAILED]
        fresh = [one for one in dict.fromkeys(news) if one not in self._told]
        self._told.update(fresh)
        return [f"{name} failed: {reason or 'no reason given'}; still waiting" for name, reason in fresh]

    def progress(self, now: float) -> str:
        """'vnode1 booting 12s, vnode2 delaying 3s (4 s left)'"""
        return ", ".join(
            f"{node['name']} {node['state']} {age(now - node['since'])}"
            + (f" ({node['reason']})" if node["reason"] else "")
            for node in self.missing
        )

    def overdue(self, timeout_s: float) -> TimedOut:
        return TimedOut(
            *(
                f"{node['name']} is not {self.wanted} after {timeout_s:g} s: {node['state']}"
                + (f" ({node['reason']})" if node["reason"] else "")
                for node in self.missing
            )
        )


def get_nodes(client: Any, selection: str) -> list[Node]:
    nodes: list[Node] = client.call("nodes", "get_nodes", selection=selection)
    return nodes


def get_node(client: Any, name: str) -> Node:
    return get_nodes(client, check_one_node(name))[0]


def wait_until_booted(client: Any, nodes: Sequence[Node], timeout_s: float | None) -> None:
    wait_until(client, nodes, BOOTED, timeout_s)


def wait_until(client: Any, nodes: Sequence[Node], wanted: str, timeout_s: float | None) -> None:
    """Return once all are in that state; TimedOut, or NotFound when one was removed meanwhile."""
    watch, progress = Watch(nodes, wanted), Progress()
    end = None if timeout_s is None else time.monotonic() + timeout_s
    answered = time.monotonic()
    try:
        while watch.names:
            for sentence in watch.update(nodes):
                progress.clear()
                say(sentence)
            if not watch.missing:
                return
            if end is not None and time.monotonic() >= end:
                raise watch.overdue(timeout_s or 0)
            progress.show(watch.progress(time.time()))
            time.sleep(POLL_S)
            try:
                nodes = get_nodes(client, ",".join(watch.names))
                answered = time.monotonic()
            except Unreachable:
                # A service that is restarted does not end the wait of everybody.
                if time.monotonic() - answered > AWAY_S:
                    raise
    finally:
        progress.clear()
