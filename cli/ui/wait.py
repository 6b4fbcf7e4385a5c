"""Waiting until nodes are in a state: what to print about what was seen (pure), and the loop that waits.

`nodes` tells of a change when it comes; while nothing happens, nothing is asked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from walt.client import CALL_TIMEOUT_S, Call, Client
from walt.contracts.errors import EXIT_TIMEOUT, Failed, Unreachable
from walt.contracts.hosts import UNREACHABLE
from walt.contracts.names import check_one_node
from walt.contracts.nodes import WAIT_S, NodesSeen, NodeView
from walt.contracts.vmrunner import BOOTED, CAUSE_NO_ANSWER, FAILED
from walt.replies import read

from .messages import Progress, age, print_message

PAUSE_S = 0.3  # between two answers; longer for many nodes, since their answer takes longer
PAUSE_OF_EACH_S = 0.002
SHOW_S = 1.0  # of the ages on a terminal
UNREACHABLE_TIMEOUT_S = 30.0  # how long nodes (or the broker) may be unreachable before a wait is given up


class TimedOut(Failed):
    exit_code = EXIT_TIMEOUT


class Watch:
    """The nodes that are waited for, to be in state `wanted`, and which of their failures have been reported."""

    def __init__(self, nodes: Sequence[NodeView], wanted: str = BOOTED) -> None:
        self.wanted = wanted
        self.names = [node.name for node in nodes]
        self._nodes = list(nodes)
        self._reported: set[tuple[str, str]] = set()
        self._reached: set[str] = set()

    @property
    def missing(self) -> list[NodeView]:
        return [
            node for node in self._nodes if node.state != self.wanted or (self.wanted == BOOTED and is_silent(node))
        ]

    def newly_reached(self) -> list[NodeView]:
        """Those that are in the state now and were not at an earlier call."""
        out = {*self._reached, *(one.name for one in self.missing)}
        found = [one for one in self._nodes if one.name not in out]
        self._reached.update(one.name for one in found)
        return found

    def update(self, nodes: Sequence[NodeView]) -> list[str]:
        """The new state of the nodes; messages about failures, each reason of a node once."""
        self._nodes = list(nodes)
        bad = [one for one in self.missing if one.state in (FAILED, UNREACHABLE) or is_silent(one)]
        fresh = [one for one in bad if (one.name, one.reason) not in self._reported]
        self._reported.update((one.name, one.reason) for one in fresh)
        by_reason = _grouped(fresh, lambda one: one.reason or "no reason given")
        return [
            f"{_names(some)} {'booted' if is_silent(some[0]) else some[0].state}: {reason}; still waiting"
            for reason, some in by_reason.items()
        ]

    def progress(self, now: float) -> str:
        """'vnode1 booting 12s, vnode2 delaying 3s (4 s left)'"""
        return ", ".join(
            f"{one.name} {state_text(one.state, one.cause)} {age(now - one.since)}{_reason(one)}"
            for one in self.missing
        )

    def overdue(self, timeout_s: float) -> TimedOut:
        by_state = _grouped(self.missing, lambda one: f"{one.state}{_reason(one)}")
        return TimedOut(
            *(
                f"{_names(some)} {'is' if len(some) == 1 else 'are'} not {self.wanted} after {timeout_s:g} s: {state}"
                for state, some in by_state.items()
            )
        )


def state_text(state: str, cause: str) -> str:
    return f"{state}, does not answer" if state == BOOTED and cause == CAUSE_NO_ANSWER else state


def is_silent(node: NodeView) -> bool:
    """It has booted and does not answer any more."""
    return node.state == BOOTED and node.cause == CAUSE_NO_ANSWER


def _grouped(nodes: Sequence[NodeView], key: Callable[[NodeView], str]) -> dict[str, list[NodeView]]:
    """Nodes by what is to be printed of them: one line for many nodes, not one for each."""
    groups: dict[str, list[NodeView]] = {}
    for one in nodes:
        groups.setdefault(key(one), []).append(one)
    return groups


def _names(nodes: Sequence[NodeView]) -> str:
    return ", ".join(one.name for one in nodes)


def _reason(node: NodeView) -> str:
    return f" ({node.reason})" if node.reason else ""


def get_nodes(client: Client, selection: str) -> list[NodeView]:
    return read(list[NodeView], client.call("nodes", "get_nodes", selection=selection))


def get_node(client: Client, name: str) -> NodeView:
    return get_nodes(client, check_one_node(name))[0]


def wait_until_booted(client: Client, nodes: Sequence[NodeView], timeout_s: float | None) -> None:
    wait_until(client, nodes, BOOTED, timeout_s)


def wait_until(
    client: Client,
    nodes: Sequence[NodeView],
    wanted: str,
    timeout_s: float | None,
    on_reached: Callable[[Sequence[NodeView]], None] = lambda reached: None,
) -> None:
    """Return once all are in that state; TimedOut, or NotFound when one was removed meanwhile. on_reached: called with
    those that have come to be in it, each once."""
    watch, progress = Watch(nodes, wanted), Progress()
    end = math.inf if timeout_s is None else time.monotonic() + timeout_s
    news = News(client, watch.names, end, lambda: progress.show(watch.progress(time.time())))
    try:
        while watch.names:
            for sentence in watch.update(nodes):
                progress.clear()
                print_message(sentence)
            if reached := watch.newly_reached():
                progress.clear()
                on_reached(reached)
            if not watch.missing:
                return
            if time.monotonic() >= end:
                raise watch.overdue(timeout_s or 0)
            nodes = news.next() or nodes
    finally:
        progress.clear()


class News:
    """What `nodes` tells of these nodes. end: of the monotonic clock; show: called now and then."""

    def __init__(self, client: Client, names: Sequence[str], end: float, show: Callable[[], None]) -> None:
        self._client = client
        self._selection = ",".join(names)
        self._pause_s = PAUSE_S + len(names) * PAUSE_OF_EACH_S
        self._end, self._show = end, show
        self._seen = ""
        self._answer_due = time.monotonic()

    def next(self) -> Sequence[NodeView] | None:
        """The nodes once something has changed; None when `end` came first, or nodes does not answer for a moment: a
        service that restarts must not end the wait."""
        self._show()
        time.sleep(max(0.0, min(self._pause_s, self._end - time.monotonic())))
        try:
            return self._answer(WAIT_S if self._seen else 0.0)
        except Unreachable:
            self._seen = ""
            if time.monotonic() - self._answer_due > UNREACHABLE_TIMEOUT_S:
                raise
            return None

    def _answer(self, patience_s: float) -> Sequence[NodeView] | None:
        call = self._ask(patience_s + CALL_TIMEOUT_S)
        asked_at = time.monotonic()
        limit = asked_at + patience_s + CALL_TIMEOUT_S
        while not call.done:
            now = time.monotonic()
            self._answer_due = max(self._answer_due, min(now, asked_at + patience_s))
            if now >= self._end:
                return None
            if now >= limit:
                self._client.close()
                raise Unreachable(f"service {call.service} does not answer: no reply to {call.method}")
            self._show()
            self._client.drain(min(SHOW_S, self._end - now, limit - now))
        found = read(NodesSeen, call.result())
        self._seen, self._answer_due = found.seen, time.monotonic()
        return found.nodes

    def _ask(self, timeout_s: float) -> Call:
        return self._client.start(
            "nodes", "wait_nodes", timeout_s=timeout_s, selection=self._selection, seen=self._seen
        )
