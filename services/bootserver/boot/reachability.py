"""Whether nodes that have booted still answer: each is looked at now and then, from outside, over walt-net.

A look asks the node's kernel first: it refuses a connection to a port where nothing listens, which costs a guest next
to nothing, whereas each connection to its ssh server begins a process there. The ssh server itself is asked when the
kernel does not answer (a packet filter may drop such a request), at each tenth look, and of a node that is silent.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.bootserver.boot.boot_records import BootRecord
from services.kit import tasks
from walt.contracts.bootserver import NodeReachable

LOOK_S = 30.0  # between two looks at a node that answers
AGAIN_S = 5.0  # after a look that failed
SILENT_S = 15.0  # between two looks at a silent node
FAILED_LOOKS = 3  # in a row: it is silent
BANNER_EVERY = 10  # looks
TURN_S = 1.0
MAX_PER_TURN = 100  # of 10,000 nodes, each is looked at every 100 s
MAX_AT_ONCE = 64
JITTER = 0.2  # of each pause


@dataclass
class _Watched:
    """failed_at: epoch seconds of the first of `failures`; silent: as last reported, None before the first report."""

    record: BootRecord
    looks: int = 0
    failures: int = 0
    failed_at: float = 0.0
    silent: bool | None = None


class ReachabilityWatch:
    """find: the present boot record of a node; kernel_answers, sends_banner: of the system and of the ssh server at an
    address; report: called when a node falls silent or answers again, and once after the start of this process; again
    after the next look where it returns False."""

    def __init__(
        self,
        find: Callable[[int], BootRecord | None],
        kernel_answers: Callable[[str], bool],
        sends_banner: Callable[[str], bool],
        report: Callable[[NodeReachable], bool],
    ) -> None:
        self._find = find
        self._kernel_answers = kernel_answers
        self._sends_banner = sends_banner
        self._report = report
        self._queue: list[tuple[float, int, _Watched]] = []  # a heap: when it is due, in monotonic seconds
        self._numbers = 0
        self._at_once = 0

    def watch(self, record: BootRecord) -> None:
        """From the end of its boot until it has another record, or none."""
        if record.booted_at and record.request.is_virtual:
            self._push(_Watched(record), random.uniform(0, LOOK_S))

    def turn(self) -> None:
        """Begin the looks that are due, as many as may be."""
        for _ in range(MAX_PER_TURN):
            if not self._queue or self._queue[0][0] > time.monotonic() or self._at_once >= MAX_AT_ONCE:
                return
            watched = heapq.heappop(self._queue)[2]
            if self._is_present(watched):
                self._at_once += 1
                tasks.spawn(self._look, watched)

    def _look(self, watched: _Watched) -> None:
        try:
            answers = self._answers(watched)
        finally:
            self._at_once -= 1
        if self._is_present(watched):
            self._note(watched, answers)
            self._push(watched, _pause_s(watched))

    def _answers(self, watched: _Watched) -> bool:
        ip = watched.record.request.ip
        watched.looks += 1
        needs_banner = watched.silent or watched.failures or watched.looks % BANNER_EVERY == 0
        return (not needs_banner and self._kernel_answers(ip)) or self._sends_banner(ip)

    def _note(self, watched: _Watched, answers: bool) -> None:
        if answers:
            watched.failures = 0
        else:
            watched.failed_at = watched.failed_at if watched.failures else time.time()
            watched.failures += 1
        if answers or watched.failures >= FAILED_LOOKS:
            self._tell(watched, silent=not answers)

    def _tell(self, watched: _Watched, silent: bool) -> None:
        if silent != watched.silent:
            request = watched.record.request
            since = watched.failed_at if silent else time.time()
            if self._report(NodeReachable(request.node_id, request.run, not silent, since)):
                watched.silent = silent

    def _is_present(self, watched: _Watched) -> bool:
        return self._find(watched.record.request.node_id) == watched.record

    def _push(self, watched: _Watched, pause_s: float) -> None:
        self._numbers += 1
        due = time.monotonic() + pause_s * random.uniform(1 - JITTER, 1 + JITTER)
        heapq.heappush(self._queue, (due, self._numbers, watched))


def _pause_s(watched: _Watched) -> float:
    if watched.silent:
        return SILENT_S
    return AGAIN_S if watched.failures else LOOK_S
