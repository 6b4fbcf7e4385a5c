"""What administrators do to accounts: at the broker, and in the registry, where one command at a time claims one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict

from services.kit.bus.repetitions import CallId
from services.nodes.commands import node_commands
from services.nodes.commands.node_commands import Outcome
from services.nodes.commands.queries import select_nodes
from services.nodes.domain import limits
from services.nodes.domain.accounts import Account, Claim
from services.nodes.storage.registry import Registry, RegistryStore
from services.nodes.users import rules
from services.nodes.users.accounts import Accounts
from walt.contracts.limits import UNLIMITED, LimitsChange
from walt.contracts.names import MY_NODES
from walt.contracts.nodes import NewPassword, UserUse

log = logging.getLogger(__name__)

Execute = Callable[..., Outcome]  # of `NodesApp`: (call, command, *arguments)


class UserCommands:
    """Each claims the account first, so that of two commands at once one is refused: each makes a new password."""

    def __init__(self, store: RegistryStore, accounts: Accounts, execute: Execute) -> None:
        self._store = store
        self._accounts = accounts
        self._execute = execute

    def add(self, caller: str, name: str, administrator: bool) -> NewPassword:
        new = rules.new_account(name, administrator)
        self._accounts.check_administrator(caller)
        with self._claimed(name) as claim:
            made = self._accounts.add(caller, new, self._names_of(claim))
            with self._store.transaction() as registry:
                account = registry.accounts.settle_as_new(claim)
                _give_first_limits(registry, account, administrator)
        return made

    def ensure(self, name: str, administrator: bool) -> NewPassword:
        """For the set-up of the platform."""
        new = rules.new_account(name, administrator)
        with self._claimed(name) as claim:
            made = self._accounts.ensure(new)
            with self._store.transaction() as registry:
                registry.accounts.settle(claim)
                if claim.is_new:
                    _give_first_limits(registry, claim.account, administrator)
        return made

    def change_password(self, caller: str, name: str, password: str | None) -> NewPassword:
        if name != caller:
            self._accounts.check_administrator(caller)
        with self._claimed(name) as claim:
            made = self._accounts.change_password(caller, name, password)
            self._settle(claim)
        return made

    def remove(self, caller: str, name: str, force: bool) -> Outcome:
        """The released nodes."""
        self._accounts.check_administrator(caller)
        with self._claimed(name) as claim:
            self._accounts.remove(caller, name, self._names_of(claim), force)
            return self._execute(CallId(caller), node_commands.release_all, claim, force=force)

    def limit(self, caller: str, name: str, change: LimitsChange) -> None:
        self._accounts.check_administrator(caller)
        self._accounts.check_user(name)
        with self._store.transaction() as registry:
            registry.accounts.change_limits(registry.accounts.of(name).id, change)
        log.info("user limited: user=%s limits=%s by=%s", name, change, caller)

    def use(self, caller: str, name: str, images: Callable[[Account], dict[str, int]]) -> UserUse:
        """images(account): what its images take, as `UserUse.used` has it."""
        if name != caller:
            self._accounts.check_administrator(caller)
            self._accounts.check_user(name)
        with self._store.transaction() as registry:
            account = registry.accounts.of(name)
            allowed = registry.accounts.limits(account.id)
            used = limits.use(select_nodes(registry, MY_NODES, account.id))
        return UserUse(name, allowed, {**asdict(used), **images(account)})

    @contextlib.contextmanager
    def _claimed(self, name: str) -> Iterator[Claim]:
        with self._store.transaction() as registry:
            claim = registry.accounts.claim(name)
        try:
            yield claim
        except BaseException:
            with self._store.transaction() as registry:
                registry.accounts.abandon(claim)
            raise

    def _settle(self, claim: Claim) -> None:
        with self._store.transaction() as registry:
            registry.accounts.settle(claim)

    def _names_of(self, claim: Claim) -> list[str]:
        """Of the nodes of the account."""
        with self._store.transaction() as registry:
            return registry.names(claim.account.id)


def _give_first_limits(registry: Registry, account: Account, administrator: bool) -> None:
    """An administrator may change limits, so none are put on him; everybody else has those of all users."""
    if administrator:
        registry.accounts.change_limits(account.id, LimitsChange(asdict(UNLIMITED)))
