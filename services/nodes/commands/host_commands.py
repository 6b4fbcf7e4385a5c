"""What users see of hosts, and what an administrator does with them."""

from __future__ import annotations

from services.nodes.commands.host_directory import HostDirectory
from services.nodes.domain import hosts
from services.nodes.domain.hosts import HostUse
from services.nodes.storage.registry import RegistryStore
from services.nodes.users.accounts import Accounts
from walt.contracts.hosts import HostView


class HostCommands:
    def __init__(self, store: RegistryStore, accounts: Accounts, known: HostDirectory) -> None:
        self._store = store
        self._accounts = accounts
        self._hosts = known

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

    def remove(self, caller: str, name: str) -> None:
        self._accounts.check_administrator(caller)
        self._hosts.remove(name)
