"""The users of the platform: accounts at the broker, whose rights follow the public methods."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from services.kit import tasks
from services.nodes.domain.model import NodeSummary
from services.nodes.users import broker_use, rules
from services.nodes.users.rabbitmq_api import STATISTICS_S, ManagementApi
from services.nodes.users.restored import RestoredUsers
from services.nodes.users.rules import BrokerAccount
from walt.contracts.agent_rights import AGENTS_TAG, account_of_host, agent_rights
from walt.contracts.broker_permissions import Rights, user_rights
from walt.contracts.errors import Failed, WaltError
from walt.contracts.nodes import SUSPENDED_S, NewPassword, UserView

RENEW_S = 600.0
PASSWORD_BYTES = 24
# Of one user at the broker: a command takes one connection and some channels, so this is a class of scripts.
CONNECTION_LIMITS = {"max-connections": 200, "max-channels": 1000}
NO_CONNECTIONS = {**CONNECTION_LIMITS, "max-connections": 0}

log = logging.getLogger(__name__)


class Accounts:
    """broker: None where the platform has no access to the broker's management API, so that users cannot be managed.
    public_file: WALT_PUBLIC_METHODS; restored: the users of a backup, who come before all others."""

    def __init__(self, broker: ManagementApi | None, public_file: str, restored: RestoredUsers) -> None:
        self._api = broker
        self._public_file = public_file
        self._restored = restored

    @property
    def are_managed(self) -> bool:
        return self._api is not None

    def check_administrator(self, name: str) -> None:
        rules.check_administrator(name, self._get(name))

    def check_user(self, name: str) -> None:
        rules.check_user(name, self._get(name))

    def is_administrator(self, name: str) -> bool:
        account = self._get(name)
        return account is not None and account.is_administrator

    def add(self, caller: str, account: BrokerAccount, owned: Sequence[str]) -> NewPassword:
        """owned: names of the nodes of a former user of that name."""
        rules.check_free(account.name, self._get(account.name), owned)
        made = self._make(account)
        log.info("user added: user=%s administrator=%s by=%s", account.name, account.is_administrator, caller)
        return made

    def remove(self, caller: str, name: str, owned: Sequence[str], force: bool) -> None:
        """Removes the account only; whoever calls this releases the nodes."""
        rules.check_removable(name, caller, self._get(name), owned, force)
        self._broker.delete(name)
        log.info("user removed: user=%s by=%s", name, caller)

    def views(self, caller: str, nodes: Sequence[NodeSummary]) -> list[UserView]:
        self.check_administrator(caller)
        users = [account for account in self._broker.accounts() if account.is_user]
        connected = {user.name for user in users if self._broker.is_connected(user.name)}
        return rules.views(users, nodes, connected)

    def change_password(self, caller: str, name: str, password: str | None) -> NewPassword:
        """password: None for a random one. Connections of another user, made with the old password, are closed."""
        account = rules.check_user(name, self._get(name))
        new = self._set_password(account, None if password is None else rules.check_password(password))
        if name != caller:
            self._broker.close_connections(name)
        log.info("password changed: user=%s by=%s", name, caller)
        return new

    def ensure(self, account: BrokerAccount) -> NewPassword:
        """For the set-up of the platform: creates the account, or sets a new password. An account of the broker with
        that name becomes that of a user."""
        known = self._get(account.name)
        log.info("user ensured: user=%s administrator=%s", account.name, account.is_administrator)
        if known is None:
            return self._make(account)
        self._admit(account.name, user_rights(account.name, self._public()))
        return self._set_password(replace(account, tags=known.tags | account.tags))

    def put_host(self, host: str) -> str:
        """The new password of the agents of a further host, who have an account from now on; they log in anew."""
        account = BrokerAccount(account_of_host(host), frozenset({AGENTS_TAG}))
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        self._broker.put(account, password)
        self._broker.put_rights(account.name, agent_rights(host))
        self._broker.close_connections(account.name, "its password is another")
        return password

    def has_host(self, host: str) -> bool:
        return self.are_managed and self._get(account_of_host(host)) is not None

    def remove_host(self, host: str) -> None:
        self._broker.delete(account_of_host(host))

    def suspend(self, name: str, reason: str) -> None:
        """Close his connections, and refuse others for SUSPENDED_S. A restart ends that earlier. name "": of who sends
        far more than others; of nobody where that is not clear."""
        name = name or self._loudest()
        if not name:
            log.warning("nobody suspended: %s", reason)
            return
        rules.check_user(name, self._get(name))
        told = f"{reason}; allowed again in {SUSPENDED_S:g} s"
        self._broker.put_limits(name, NO_CONNECTIONS)
        tasks.spawn(self._readmit, name)
        self._broker.close_connections(name, told)
        log.warning("user suspended: user=%s: %s", name, told)

    def _loudest(self) -> str:
        before = self._broker.channels()
        tasks.sleep(STATISTICS_S + 1)
        users = {account.name for account in self._broker.accounts() if account.is_user}
        return broker_use.loudest(before, self._broker.channels(), users)

    def _readmit(self, name: str) -> None:
        tasks.sleep(SUSPENDED_S)
        with contextlib.suppress(WaltError):  # else `renew` does
            if self._get(name) is not None:
                self._broker.put_limits(name, CONNECTION_LIMITS)

    def renew(self) -> None:
        """Give every user the rights to exactly the present public methods, and his limits at the broker, as is needed
        after an upgrade."""
        broker, public = self._broker, self._public()
        accounts = broker.accounts()
        wanted = {one.name: user_rights(one.name, public) for one in accounts if one.is_user}
        wanted |= {one.name: agent_rights(host) for one in accounts if (host := one.host)}
        for name in rules.outdated(broker.rights(), wanted):
            broker.put_rights(name, wanted[name])
            log.info("rights renewed: user=%s", name)
        limits = broker.limits()
        users = [one.name for one in accounts if one.is_user]
        for name in rules.outdated(limits, dict.fromkeys(users, CONNECTION_LIMITS)):
            broker.put_limits(name, CONNECTION_LIMITS)
            log.info("limits at the broker renewed: user=%s", name)

    @property
    def _broker(self) -> ManagementApi:
        if self._api is None:
            raise Failed("this platform cannot manage users: WALT_BROKER_API is not set for nodes")
        self._restored.put(self._api, self._public)
        return self._api

    def _get(self, name: str) -> BrokerAccount | None:
        return self._broker.account(name)

    def _make(self, account: BrokerAccount) -> NewPassword:
        rights = user_rights(account.name, self._public())
        with contextlib.ExitStack() as undo:
            undo.callback(self._broker.delete, account.name)
            made = self._set_password(account)
            self._admit(account.name, rights)
            undo.pop_all()
        return made

    def _admit(self, name: str, rights: Rights) -> None:
        self._broker.put_rights(name, rights)
        self._broker.put_limits(name, CONNECTION_LIMITS)

    def _set_password(self, account: BrokerAccount, chosen: str | None = None) -> NewPassword:
        password = secrets.token_urlsafe(PASSWORD_BYTES) if chosen is None else chosen
        self._broker.put(account, password)
        return NewPassword(account.name, password)

    def _public(self) -> list[str]:
        """The routing keys of the public methods."""
        try:
            keys = Path(self._public_file).read_text().split()
        except OSError as error:
            raise Failed(f"the list of public methods cannot be read (WALT_PUBLIC_METHODS): {error}") from None
        if not keys:
            raise Failed(f"the list of public methods is empty (WALT_PUBLIC_METHODS={self._public_file})")
        return keys
