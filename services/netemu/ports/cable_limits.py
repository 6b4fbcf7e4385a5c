"""Owners whose links the cable limits, since they have used up their share of its memory or of its time."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from services.netemu.ports.traffic import CableShare

LATELY_S = 60.0

log = logging.getLogger(__name__)


def limited_lately(shares: Iterable[CableShare]) -> list[CableShare]:
    return [one for one in shares if one.limited_ago_s is not None and one.limited_ago_s < LATELY_S]


def described(share: CableShare) -> str:
    """'alice (12 frames lost, 3.1 s of waiting)', in all since the cable has known this owner."""
    return f"{share.owner or 'nobody'} ({share.dropped} frames lost, {share.held_s:.1f} s of waiting)"


class LimitLog:
    """Logs when an owner is limited, once until he has not been so for LATELY_S, and what it amounted to then."""

    def __init__(self) -> None:
        self._limited: dict[str, CableShare] = {}  # by owner

    def tell(self, shares: Iterable[CableShare]) -> None:
        now = {one.owner: one for one in limited_lately(shares)}
        for owner, share in now.items():
            if owner not in self._limited:
                log.warning("the links of %s are limited to his share of the cable", owner or "nobody")
            self._limited[owner] = share
        for owner in self._limited.keys() - now.keys():
            log.info("links are not limited any more: %s", described(self._limited.pop(owner)))
