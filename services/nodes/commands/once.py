"""Commands are obeyed once, however often they come: again from the broker, as nodes was ended before it had said that
it was done, or again from a client that got no answer. The first answer is given again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from services.kit.bus.repetitions import CallId
from services.nodes.domain import answers
from services.nodes.domain.answers import NOT_KEPT, AnsweredBefore
from services.nodes.storage.registry import RegistryStore
from walt.contracts.errors import Refused, WaltError
from walt.contracts.nodes import NewPassword

T = TypeVar("T")


class Once:
    """A call without a key is obeyed whenever it comes. An answer that is given again is as JSON has it, as it was when
    it left for the first time."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    def run(self, call: CallId, command: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """command(call, …) remembers its answer in the transaction of its change (`run_command`). A refusal is
        remembered too: what was refused must not be done when it comes again later."""
        if not call.key:
            return command(call, *arguments, **options)
        try:
            with self._store.transaction() as registry:
                registry.answers.check_new(registry.accounts.of(call.user).id, call.key)
            return command(call, *arguments, **options)
        except AnsweredBefore as before:
            return cast(T, answers.given_again(before.text))
        except Refused as refused:
            self._put(call, answers.text_of(refused))
            raise

    def begin(self, call: CallId, command: Callable[..., T], *arguments: Any) -> T:
        """For command(user, …) that changes more than the registry: it is remembered before it begins, so that it is
        done once or, where nodes is ended meanwhile, perhaps not at all. A new password is not kept."""
        if not call.key:
            return command(call.user, *arguments)
        try:
            self._put(call, NOT_KEPT, must_be_new=True)
        except AnsweredBefore as before:
            return cast(T, answers.given_again(before.text))
        try:
            result = command(call.user, *arguments)
        except WaltError as error:
            self._put(call, answers.text_of(error))
            raise
        if not isinstance(result, NewPassword):
            self._put(call, answers.text_of(result))
        return result

    def _put(self, call: CallId, text: str, must_be_new: bool = False) -> None:
        with self._store.transaction() as registry:
            account = registry.accounts.of(call.user).id
            if must_be_new:
                registry.answers.check_new(account, call.key)
            registry.answers.put(account, call.key, text, time.time())
