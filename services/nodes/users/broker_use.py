"""Pure: what users have at the broker, and who has more than is allowed. RabbitMQ itself counts only the connections
and channels of a user.

A name that begins with user.NAME. is that user's: of a queue, of an exchange, or as the key of a binding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "user."
FAR_MORE = 3
QUEUES, QUEUE_BYTES, EXCHANGES, BINDINGS = "queues", "bytes in queues", "exchanges", "bindings"
# A command has one queue with two bindings, and each of its sessions one more with one; nothing honest has exchanges.
ALLOWED: Mapping[str, int] = {QUEUES: 500, QUEUE_BYTES: 256 * 2**20, EXCHANGES: 10, BINDINGS: 1500}


@dataclass(frozen=True)
class BrokerBinding:
    """arguments are part of its identity."""

    source: str
    destination: str
    key: str
    to_exchange: bool
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def user(self) -> str:
        return next(filter(None, map(user_of, (self.destination, self.source, self.key))), "")


@dataclass(frozen=True)
class BrokerObjects:
    """queues: with the bytes of their messages."""

    queues: Mapping[str, int] = field(default_factory=dict)
    exchanges: tuple[str, ...] = ()
    bindings: tuple[BrokerBinding, ...] = ()

    def of(self, user: str) -> BrokerObjects:
        return BrokerObjects(
            {name: size for name, size in self.queues.items() if user_of(name) == user},
            tuple(name for name in self.exchanges if user_of(name) == user),
            tuple(one for one in self.bindings if one.user == user),
        )


def user_of(name: str) -> str:
    """'user.ada.console.1' -> 'ada'; '' for what is nobody's."""
    return name.split(".", 2)[1] if name.startswith(PREFIX) else ""


def excesses(objects: BrokerObjects) -> dict[str, str]:
    """What is too much, by user: {'bob': 'bob has 2000 queues at the broker; allowed: 500'}."""
    sizes = Counter[str]()
    for name, size in objects.queues.items():
        sizes[user_of(name)] += size
    used = {
        QUEUES: Counter(map(user_of, objects.queues)),
        QUEUE_BYTES: sizes,
        EXCHANGES: Counter(map(user_of, objects.exchanges)),
        BINDINGS: Counter(one.user for one in objects.bindings),
    }
    return {
        user: f"{user} has {count} {what} at the broker; allowed: {ALLOWED[what]}"
        for what, by_user in used.items()
        for user, count in by_user.items()
        if user and count > ALLOWED[what]
    }


@dataclass(frozen=True)
class ChannelWork:
    """work: what a channel has cost the broker so far (reductions), which goes with its messages and not with their
    size."""

    user: str
    work: int


def loudest(before: Mapping[str, ChannelWork], after: Mapping[str, ChannelWork], users: Collection[str]) -> str:
    """Of these users, the one who has sent far more than each other meanwhile; "" if there is none. By channel."""
    work = Counter[str]()
    for name, one in after.items():
        if one.user in users:
            work[one.user] += one.work - (before[name].work if name in before else 0)
    ranking = [*work.most_common(2), ("", 0), ("", 0)]
    return ranking[0][0] if ranking[0][1] > FAR_MORE * ranking[1][1] else ""
