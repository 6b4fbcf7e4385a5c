"""Runs a command: one transaction and, before it, an inspection of the data that the command would destroy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from services.nodes.commands.node_commands import Outcome
from services.nodes.domain import answers, history
from services.nodes.domain.data_loss import MustInspect
from services.nodes.domain.model import RequestContext, Volume
from services.nodes.storage.registry import Registry, RegistryStore
from walt.contracts.errors import Conflict

MAX_INSPECTIONS = 3

Result = TypeVar("Result", bound=Outcome)
CheckEmpty = Callable[[Sequence[Volume]], None]  # raises NeedsForce when one holds data


def run(
    store: RegistryStore,
    check_empty: CheckEmpty,
    command: Callable[..., Result],
    context: RequestContext,
    *arguments: Any,
) -> Result:
    """Inspecting disks takes RPCs, so it happens between transactions: run the command, collect the volumes to inspect,
    inspect them, run it again. A disk that was added meanwhile triggers another round. AnsweredBefore for a command
    that was obeyed already: what it answers is stored together with what it changes."""
    for _ in range(MAX_INSPECTIONS):
        try:
            with store.transaction() as registry:
                history.check_undisputed(registry.history.disputes())
                known = _with_account(registry, context)
                if context.key:
                    registry.answers.check_new(known.account, known.key)
                outcome = command(registry, known, *arguments)
                if context.key:
                    registry.answers.put(known.account, known.key, answers.text_of(outcome.answer()), known.at)
                return outcome
        except MustInspect as must_inspect:
            check_empty(must_inspect.volumes)
            context = replace(context, known_empty=(*context.known_empty, *must_inspect.volumes))
    raise Conflict("the disks of these nodes are being changed by another command; check them and retry")


def _with_account(registry: Registry, context: RequestContext) -> RequestContext:
    """Within the transaction, so that the account is still there when the command ends."""
    return replace(context, account=registry.accounts.of(context.user).id) if context.user else context
