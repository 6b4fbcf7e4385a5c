"""Requests that come more than once: the broker delivers again what was not acknowledged when a connection was lost,
and a client that got no answer repeats its command. Each is obeyed once, and each copy gets the one reply. Pure.

    call_id = call_id_of(user, message.properties, routing_key, body)
    if (reply := repetitions.reply(call_id)) is not None:   it has ended: this was its reply
    elif repetitions.begins(call_id, message):              it is new; otherwise it waits for the reply of the first
    …
    for message in repetitions.end(call_id, message, reply):  to each of these

What a process remembers ends with it. Commands that must be done once over a restart too are remembered where they are
done (services/nodes/commands/once.py).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Message = TypeVar("Message", bound=Hashable)

KEPT_CHARACTERS = 16_384  # of a reply; one that is larger is of a method that reads, which is asked again
KEPT_OF_ONE_CALLER = 2**18  # characters of all replies
KEPT_OF_ALL = 2**24  # beyond it go those of the caller who has been silent for longest
ENTRY = 100  # what a reply counts at least: beyond some 2600 of one caller the oldest is forgotten


@dataclass(frozen=True)
class CallId:
    """Whose call this is. key: of this call, the same whenever it comes again; "" where the caller gave it none."""

    user: str
    key: str = ""


def call_id_of(user: str, properties: Mapping[str, Any], routing_key: str, body: bytes | str) -> CallId:
    """`message_id` is the caller's name for the call. What differs in its method or its arguments is another call,
    whatever its name."""
    name = properties.get("message_id")
    if not name:
        return CallId(user)
    digest = hashlib.blake2b(digest_size=16)
    for part in (str(name), routing_key, body):
        data = part if isinstance(part, bytes) else part.encode(errors="surrogateescape")
        digest.update(len(data).to_bytes(8, "big") + data)
    return CallId(user, digest.hexdigest())


class Repetitions(Generic[Message]):
    def __init__(self) -> None:
        self._under_way: dict[CallId, list[Message]] = {}
        self._replies: OrderedDict[str, OrderedDict[str, str]] = OrderedDict()  # {user: {key: reply}}, oldest first
        self._sizes: dict[str, int] = {}
        self._size = 0

    def reply(self, call_id: CallId) -> str | None:
        kept = self._replies.get(call_id.user)
        return kept.get(call_id.key) if kept else None

    def begins(self, call_id: CallId, message: Message) -> bool:
        """False when this call is under way: the message is answered together with the first."""
        if not call_id.key:
            return True
        waiting = self._under_way.setdefault(call_id, [])
        waiting.append(message)
        return len(waiting) == 1

    def end(self, call_id: CallId, message: Message, reply: str) -> list[Message]:
        """All messages that the reply is for."""
        waiting = self._under_way.get(call_id, [])
        if waiting and message not in waiting:  # it was refused before it was looked at
            return [message]
        self._under_way.pop(call_id, None)
        if call_id.key and len(reply) <= KEPT_CHARACTERS:
            self._keep(call_id, reply)
        return waiting or [message]

    def _keep(self, call_id: CallId, reply: str) -> None:
        kept = self._replies.setdefault(call_id.user, OrderedDict())
        self._replies.move_to_end(call_id.user)
        before = self._sizes.get(call_id.user, 0)
        size = before + ENTRY + len(reply)
        if call_id.key in kept:
            size -= ENTRY + len(kept.pop(call_id.key))
        kept[call_id.key] = reply
        while size > KEPT_OF_ONE_CALLER:
            size -= ENTRY + len(kept.popitem(last=False)[1])
        self._sizes[call_id.user] = size
        self._size += size - before
        while self._size > KEPT_OF_ALL:
            silent, _ = self._replies.popitem(last=False)
            self._size -= self._sizes.pop(silent)
