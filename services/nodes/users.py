"""Pure: the accounts of users, and who may do what to them. They are the broker's own: nothing of them is stored here.

Every user has the tag USER at the broker, an administrator of the platform ADMINISTRATOR too. An account without USER
is none of ours, and never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.contracts.errors import Conflict, Denied, InvalidRequest, NotFound
from services.contracts.names import check_user_name
from services.contracts.nodes import UserView
from services.contracts.rights import ADMINISTRATOR, USER
from services.nodes.model import Node

MIN_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 128
PASSWORD_RULE = f"{MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters that can be printed"


@dataclass(frozen=True)
class Account:
    name: str
    tags: frozenset[str]

    @property
    def is_user(self) -> bool:
        return USER in self.tags

    @property
    def is_administrator(self) -> bool:
        return self.is_user and ADMINISTRATOR in self.tags


def new_account(name: str, administrator: bool) -> Account:
    return Account(check_user_name(name), frozenset({USER, ADMINISTRATOR} if administrator else {USER}))


def check_administrator(name: str, account: Account | None) -> None:
    if account is None or not account.is_administrator:
        raise Denied(f"{name} is not an administrator of this platform; allowed: for administrators only")


def check_free(name: str, account: Account | None, owned: Sequence[Node]) -> None:
    """owned: the nodes of a user of that name who is gone, when his removal was cut off."""
    if account is not None:
        raise Conflict(f"the name '{name}' is taken by {'a user' if account.is_user else 'an account of the broker'}")
    if owned:
        raise Conflict(
            f"nodes of a former user '{name}' are still there ({_names(owned)}); "
            f"allowed: once they are released (walt user remove {name} --force)"
        )


def check_user(name: str, account: Account | None) -> Account:
    if account is None or not account.is_user:
        raise NotFound(f"no user '{name}'; see the users there are with: walt user list")
    return account


def check_removable(name: str, caller: str, account: Account | None, owned: Sequence[Node], force: bool) -> None:
    """A user who is gone but still owns nodes, after a crash half way, can be removed again."""
    if name == caller:
        raise Conflict(f"'{name}' is you; allowed: to remove other users")
    if account is None and owned and force:
        return
    check_user(name, account)
    if owned and not force:
        raise Conflict(
            f"user '{name}' owns nodes ({_names(owned)}); they are released, and their data is gone, with --force"
        )


def check_password(text: str) -> str:
    """The sentence does not tell the password: refusals are logged."""
    if not MIN_PASSWORD_LENGTH <= len(text) <= MAX_PASSWORD_LENGTH or not text.isprintable():
        raise InvalidRequest(f"this password is not accepted; allowed: {PASSWORD_RULE}")
    return text


def views(accounts: Iterable[Account], nodes: Iterable[Node], connected: Collection[str]) -> list[UserView]:
    owned: dict[str, list[str]] = {}
    for node in nodes:
        if node.is_present:
            owned.setdefault(node.owner, []).append(node.name)
    return [
        UserView(one.name, one.is_administrator, tuple(sorted(owned.get(one.name, ()))), one.name in connected)
        for one in sorted(accounts, key=lambda one: one.name)
    ]


def outdated(accounts: Iterable[Account], actual: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    """The users whose rights are not those that the public methods of today give."""
    return [one.name for one in accounts if one.is_user and actual.get(one.name) != wanted[one.name]]


def _names(nodes: Sequence[Node]) -> str:
    return ", ".join(node.name for node in nodes)
