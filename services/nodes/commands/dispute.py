"""What agents report of the history they have obeyed, and the decision of an administrator about it."""

from __future__ import annotations

import logging
from dataclasses import replace

from services.nodes.domain.history import Dispute
from services.nodes.storage.registry import Registry
from walt.contracts.errors import Conflict
from walt.contracts.nodes import Revision

log = logging.getLogger(__name__)


def check(registry: Registry, agent: str, identity: str, found: Revision, now: float) -> Revision | None:
    """The present revision; None when what the agent has obeyed last is not of this history, which is then a
    dispute. identity: of the registry of `found`; now: epoch seconds."""
    if not found.epoch:  # of a version before; then the identity is all that is known of it
        found = replace(found, epoch=identity)
    history = registry.history
    if (identity == registry.identity and found.epoch == identity) or history.is_known(found):
        history.drop_dispute(agent)
        return history.revision
    known = {one.agent: one.revision for one in history.disputes()}
    if known.get(agent) != found:
        log.error("%s has obeyed what this registry does not know: %s", agent, found)
        history.put_dispute(Dispute(agent, found, now))
    return None


def accept(registry: Registry, user: str, now: float) -> list[str]:
    """The agents whose disputes this ends."""
    decided = [one.agent for one in registry.history.accept(now)]
    if not decided:
        raise Conflict("there is nothing to decide: all agents obey this registry")
    log.warning("this registry is accepted: by=%s agents=%s", user, ",".join(decided))
    return decided
