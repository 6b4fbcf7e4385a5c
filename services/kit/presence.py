"""The presence of an agent: that it is there, and what its host has, announced again and again.

Who hears nothing any more knows that the agent, its host or the way to it is gone.
"""

from __future__ import annotations

from collections.abc import Callable

from services.kit import tasks
from services.kit.bus.bus import Bus
from walt.contracts.hosts import AGENT_PRESENT, PRESENCE_S, AgentPresent


def keep_present(bus: Bus, presence: Callable[[], AgentPresent]) -> tasks.Task:
    """Announce it in the name of the service of this bus: at once, and each PRESENCE_S, until the task is killed.
    presence: called anew each time; a fault of it is logged, and costs one announcement."""
    return tasks.spawn_loop("presence", lambda: bus.announce(AGENT_PRESENT, presence()), every_s=PRESENCE_S)
