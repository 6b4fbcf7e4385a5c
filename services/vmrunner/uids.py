"""Which user runs which VM. Pure.

Every VM has a user (and a group of the same number) of its own, so that one whose qemu is taken over can neither trace
nor signal another's, nor open its files. No account of the host may have a number of this range.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from services.kit.environment import Environment
from walt.contracts.errors import Failed

VM_UIDS = "2013265920-2013331455"  # 0x78000000 and 2**16 of them: numbers that Debian and systemd give to nobody
FIRST_ALLOWED, LAST_ALLOWED = 1, 2**31 - 1  # what Docker takes; 0 is root


@dataclass(frozen=True)
class UidRange:
    """first: for trials of an accelerator; the others are for VMs."""

    first: int
    last: int

    @property
    def trial(self) -> int:
        return self.first

    def choose(self, node_id: int, present: int | None, taken: Collection[int]) -> int:
        """For the next start of this node's VM. present: the one of its last; taken: those of the other nodes. Failed
        when there is none left."""
        count = self.last - self.first
        if present is not None and self.first < present <= self.last and present not in taken:
            return present
        wanted = (self.first + 1 + (node_id + step) % count for step in range(count))
        free = next((uid for uid in wanted if uid not in taken), None)
        if free is None:
            raise Failed(f"each of the users {self.first + 1} to {self.last} runs the VM of another node")
        return free


def parse_range(text: str) -> UidRange:
    """'2013265920-2013331455'; ValueError when it is not such a range of two users or more."""
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and FIRST_ALLOWED <= int(first) < int(last) <= LAST_ALLOWED:
        return UidRange(int(first), int(last))
    raise ValueError(f"'{text}'; allowed: FIRST-LAST, two or more numbers from {FIRST_ALLOWED} to {LAST_ALLOWED}")


def uid_range(env: Environment) -> UidRange:
    try:
        return parse_range(env.variable("WALT_VM_UIDS", VM_UIDS))
    except ValueError as error:
        raise SystemExit(f"WALT_VM_UIDS: {error}") from None
