"""`self.accounts`: the users of the platform, made and changed at the broker; their rights kept in step with the methods."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import eventlet
from nameko.extensions import DependencyProvider

from services.contracts.errors import Failed
from services.contracts.nodes import NewPassword, UserView
from services.contracts.rights import user_rights
from services.kit.environment import environment, variable
from services.kit.reconciliation import keep_in_step
from services.nodes import users
from services.nodes.brokerapi import BrokerApi
from services.nodes.model import Node
from services.nodes.users import Account

RENEW_S = 600.0
PASSWORD_BYTES = 24

log = logging.getLogger(__name__)


class Accounts(DependencyProvider):  # type: ignore[misc]  # nameko has no types
    def setup(self) -> None:
        self._url = variable("WALT_BROKER_API", "")
        self._public_file = variable("WALT_PUBLIC_METHODS", "")
        self._broker = BrokerApi(self._url, unquote(urlsplit(environment().amqp_uri).path[1:]) or "/")

    def start(self) -> None:
        self._renewing = eventlet.spawn(keep_in_step, self.renew, RENEW_S) if self._url else None

    def stop(self) -> None:
        if self._renewing:
            self._renewing.kill()

    def get_dependency(self, worker_ctx: Any) -> Accounts:
        return self

    def add(self, caller: str, account: Account, owned: Sequence[Node]) -> NewPassword:
        users.check_administrator(caller, self._get(caller))
        users.check_free(account.name, self._get(account.name), owned)
        made = self._make(account)
        log.info("user added: user=%s administrator=%s by=%s", account.name, account.is_administrator, caller)
        return made

    def remove(self, caller: str, name: str, owned: Sequence[Node], force: bool) -> None:
        """The account is gone when this returns; the nodes are the caller's to release then."""
        users.check_administrator(caller, self._get(caller))
        users.check_removable(name, caller, self._get(name), owned, force)
        self._broker.delete(name)
        log.info("user removed: user=%s by=%s", name, caller)

    def views(self, caller: str, nodes: Sequence[Node]) -> list[UserView]:
        users.check_administrator(caller, self._get(caller))
        known = [one for one in self._broker.accounts() if one.is_user]
        return users.views(known, nodes, {one.name for one in known if self._broker.is_connected(one.name)})

    def change_password(self, caller: str, name: str, password: str | None) -> NewPassword:
        """Of another user: whoever is connected with the old one is put out."""
        if name != caller:
            users.check_administrator(caller, self._get(caller))
        account = users.check_user(name, self._get(name))
        new = self._give_password(account, None if password is None else users.check_password(password))
        if name != caller:
            self._broker.close_connections(name)
        log.info("password changed: user=%s by=%s", name, caller)
        return new

    def ensure(self, account: Account) -> NewPassword:
        """For whoever sets the platform up: the account is there, is that, and has a password that is known again; an
        account of the broker by that name becomes a user's."""
        known = self._get(account.name)
        log.info("user ensured: user=%s administrator=%s", account.name, account.is_administrator)
        if known is None:
            return self._make(account)
        self._broker.put_rights(account.name, user_rights(account.name, self._public()))
        return self._give_password(replace(account, tags=known.tags | account.tags))

    def renew(self) -> None:
        """Give every user exactly the public methods of today, as after an upgrade."""
        public, accounts = self._public(), self._broker.accounts()
        wanted = {one.name: user_rights(one.name, public) for one in accounts}
        for name in users.outdated(accounts, self._broker.rights(), wanted):
            self._broker.put_rights(name, wanted[name])
            log.info("rights renewed: user=%s", name)

    def _get(self, name: str) -> Account | None:
        if not self._url:
            raise Failed("this platform cannot look after users: WALT_BROKER_API is not set for nodes")
        return self._broker.account(name)

    def _make(self, account: Account) -> NewPassword:
        rights = user_rights(account.name, self._public())
        with contextlib.ExitStack() as undo:
            undo.callback(self._broker.delete, account.name)
            made = self._give_password(account)
            self._broker.put_rights(account.name, rights)
            undo.pop_all()
        return made

    def _give_password(self, account: Account, chosen: str | None = None) -> NewPassword:
        password = secrets.token_urlsafe(PASSWORD_BYTES) if chosen is None else chosen
        self._broker.put(account, password)
        return NewPassword(account.name, password)

    def _public(self) -> list[str]:
        """The routing keys of the public methods. Without any, the rights would be nobody's."""
        try:
            keys = Path(self._public_file).read_text().split()
        except OSError as error:
            raise Failed(f"the list of public methods cannot be read (WALT_PUBLIC_METHODS): {error}") from None
        if not keys:
            raise Failed(f"the list of public methods is empty (WALT_PUBLIC_METHODS={self._public_file})")
        return keys
