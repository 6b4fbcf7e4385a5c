"""Carries a command out: one transaction and, before it, a look into what the command would destroy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.contracts.errors import Conflict
from services.nodes import inspection
from services.nodes.commands import Command, Outcome
from services.nodes.holdings import Unasked
from services.nodes.model import Asked
from services.nodes.store import Store

MAX_LOOKS = 3


def carry_out(store: Store, command: Command, asked: Asked, *arguments: Any) -> Outcome:
    """The looking is done outside of the transaction, which others wait for; so the transaction is done again after
    it, and refuses what was not looked into: a disk that the node got meanwhile."""
    for _ in range(MAX_LOOKS):
        try:
            with store.transaction() as registry:
                return command(registry, asked, *arguments)
        except Unasked as unasked:
            inspection.check_empty(unasked.holdings)
            asked = replace(asked, empty=(*asked.empty, *unasked.holdings))
    raise Conflict("the disks of these nodes are being changed by another command; look again and retry")
