"""Every message is delivered twice, late and out of order: `python -m tests.support.hostile_delivery services.netemu`
is that service, all of whose requests and events meet this fate. Called with a seed as the second argument, the same
delays come again."""

from __future__ import annotations

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split
import copy
import random
import runpy
import sys
from typing import Any

import eventlet
from nameko.messaging import QueueConsumer

FIRST_WITHIN_S = 0.4
AGAIN_WITHIN_S = 1.2
SETTLED_S = FIRST_WITHIN_S + AGAIN_WITHIN_S

usual = QueueConsumer.handle_message


def hostile(seed: int) -> Any:
    """To stand in for `QueueConsumer.handle_message`."""
    chance = random.Random(seed)

    def handle_message(consumer: Any, provider: Any, body: Any, message: Any) -> None:
        first_s, again_s = chance.uniform(0, FIRST_WITHIN_S), chance.uniform(0, AGAIN_WITHIN_S)
        eventlet.spawn_after(first_s, usual, consumer, provider, body, message)
        eventlet.spawn_after(first_s + again_s, usual, consumer, provider, body, _copy(message))

    return handle_message


def _copy(message: Any) -> Any:
    """The first is acknowledged, and this one is not there for the broker."""
    again = copy.copy(message)
    again.ack = again.requeue = lambda *_: None
    return again


if __name__ == "__main__":
    QueueConsumer.handle_message = hostile(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    runpy.run_module(sys.argv[1], run_name="__main__")
