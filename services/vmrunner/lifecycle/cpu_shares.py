"""The processor time of this host, shared among the owners of its VMs: who runs many VMs has no more than who runs one,
while both want it. Of an owner's share, VMs that boot get more than those whose system is up: when many boot one after
another, what each does after its boot delays no other.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from walt.contracts.errors import WaltError

SetWeight = Callable[[float], None]  # 1: all of what its owner has
BOOTING_PARTS, BOOTED_PARTS = 8, 1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Holder:
    """account: of the owner, "" for a free node; set_weight: of its VM; parts: of its owner's share."""

    account: str
    set_weight: SetWeight
    parts: int


class CpuShares:
    """Called by the threads of all runners, for the VMs that run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[int, _Holder] = {}
        self._weights: dict[int, float] = {}  # as they were set last

    def occupy(self, node_id: int, account: str, set_weight: SetWeight, *, is_booting: bool) -> None:
        """Its VM runs and belongs to this owner. May be called again at any time."""
        with self._lock:
            holder = _Holder(account, set_weight, BOOTING_PARTS if is_booting else BOOTED_PARTS)
            before = self._holders.get(node_id)
            if before != holder:
                self._holders[node_id] = holder
                if before is None or before.set_weight != set_weight:  # another VM
                    self._weights.pop(node_id, None)
                self._share()

    def release(self, node_id: int) -> None:
        """It does not run any more."""
        with self._lock:
            if self._holders.pop(node_id, None) is not None:
                self._weights.pop(node_id, None)
                self._share()

    def _share(self) -> None:
        """Only those are told whose weight has changed: the VMs of one owner."""
        parts = defaultdict[str, int](int)
        for holder in self._holders.values():
            parts[holder.account] += holder.parts
        for node_id, holder in self._holders.items():
            weight = holder.parts / parts[holder.account]
            if self._weights.get(node_id) != weight:
                self._weights[node_id] = weight
                try:
                    holder.set_weight(weight)
                except (WaltError, OSError) as error:
                    log.warning("node %d: its share of the processors cannot be set: %s", node_id, error)
