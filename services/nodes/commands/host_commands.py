"""What users see of hosts, and what an administrator does with them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from services.kit.bus.repetitions import CallId
from services.nodes.commands import move_commands
from services.nodes.commands.host_directory import HostDirectory
from services.nodes.commands.move_commands import Evacuated
from services.nodes.domain import hosts
from services.nodes.domain.hosts import HostUse
from services.nodes.storage.registry import RegistryStore
from services.nodes.users.accounts import Accounts
from walt.contracts.agent_names import check_host
from walt.contracts.agent_rights import account_of_host
from walt.contracts.hosts import HostAccess, HostEvacuation, HostView

log = logging.getLogger(__name__)


class HostCommands:
    """execute: runs a command of a user, and announces the specs that it changed."""

    def __init__(
        self, store: RegistryStore, accounts: Accounts, known: HostDirectory, execute: Callable[..., Evacuated]
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._hosts = known
        self._execute = execute

    def views(self, name: str | None) -> list[HostView]:
        """Of all hosts, or of one."""
        chosen = list(self._hosts.known.values()) if name is None else [self._hosts.find(name)]
        with self._store.transaction() as registry:
            use = registry.hosts.use()
        unreachable = self._hosts.unreachable_since()
        return [hosts.view(one, use.get(one.name, HostUse()), unreachable.get(one.name)) for one in chosen]

    def drain(self, caller: str, name: str, is_drained: bool) -> list[HostView]:
        """The host as it is then; doing it again changes nothing."""
        self._accounts.check_administrator(caller)
        self._hosts.set_drained(name, is_drained)
        return self.views(name)

    def evacuate(self, caller: str, name: str, dry_run: bool) -> HostEvacuation:
        """Doing it again moves what could not go before."""
        self._accounts.check_administrator(caller)
        self._hosts.check_answers(name)
        if not dry_run:
            self._hosts.set_drained(name, True)
        return self._execute(CallId(caller), move_commands.evacuate, name, self._hosts.pool(), dry_run).plan

    def admit(self, caller: str, name: str) -> HostAccess:
        """What a further host joins with; whoever had that before is out."""
        self._accounts.check_administrator(caller)
        hosts.check_is_further(check_host(name), self._hosts.server)
        password = self._accounts.put_host(name)
        log.info("host admitted: host=%s by=%s", name, caller)
        return HostAccess(name, account_of_host(name), password, self._hosts.server, self._hosts.subnet)

    def remove(self, caller: str, name: str) -> None:
        """Its account goes first, so that its agents are heard no more; of those that use the account of the services
        it is asked that they do not run."""
        self._accounts.check_administrator(caller)
        had_account = self._accounts.has_host(name)
        if had_account:
            self._hosts.check_is_empty(name)
            self._accounts.remove_host(name)
            log.info("host removed: host=%s by=%s", name, caller)
        if not had_account or name in self._hosts.known:
            self._hosts.remove(name, is_out=had_account)
