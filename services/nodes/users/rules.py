"""Pure: the accounts of users, and who may do what to them. They are stored by the broker only.

Every user has the tag USER at the broker, an administrator of the platform also ADMINISTRATOR. An account without USER
belongs to somebody else and is never changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.nodes.domain.model import NodeSummary
from walt.contracts.agent_rights import AGENTS_TAG, host_of
from walt.contracts.broker_permissions import ADMINISTRATOR, USER
from walt.contracts.errors import Conflict, Denied, InvalidRequest, NeedsForce, NotFound
from walt.contracts.names import check_user_name
from walt.contracts.nodes import UserView

MIN_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 128
PASSWORD_RULE = f"{MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} printable characters"


@dataclass(frozen=True)
class BrokerAccount:
    name: str
    tags: frozenset[str]

    @property
    def is_user(self) -> bool:
        return USER in self.tags

    @property
    def host(self) -> str:
        """Whose agents have this account; "" of a user's."""
        return host_of(self.name) if AGENTS_TAG in self.tags else ""

    @property
    def is_administrator(self) -> bool:
        return self.is_user and ADMINISTRATOR in self.tags


@dataclass(frozen=True)
class StoredAccount:
    """As the broker stores it, for backups."""

    name: str
    tags: tuple[str, ...]
    password_hash: str = field(repr=False)
    hashing_algorithm: str


def new_account(name: str, administrator: bool) -> BrokerAccount:
    return BrokerAccount(check_user_name(name), frozenset({USER, ADMINISTRATOR} if administrator else {USER}))


def check_administrator(name: str, account: BrokerAccount | None) -> None:
    if account is None or not account.is_administrator:
        raise Denied(f"{name} is not an administrator of this platform; this requires an administrator")


def check_free(name: str, account: BrokerAccount | None, owned: Sequence[str]) -> None:
    """owned: names of the nodes of a former user of that name, whose removal was interrupted."""
    if account is not None:
        raise Conflict(f"the name '{name}' is taken by {'a user' if account.is_user else 'an account of the broker'}")
    if owned:
        raise Conflict(
            f"nodes of a former user '{name}' are still there ({', '.join(owned)}); "
            f"allowed: once they are released (walt user remove {name} --force)"
        )


def check_user(name: str, account: BrokerAccount | None) -> BrokerAccount:
    if account is None or not account.is_user:
        raise NotFound(f"no user '{name}'; list the users with: walt user list")
    return account


def check_removable(name: str, caller: str, account: BrokerAccount | None, owned: Sequence[str], force: bool) -> None:
    """owned: names of his nodes. A user who is gone but still owns nodes, after a crash, can be removed again."""
    if name == caller:
        raise Conflict(f"'{name}' is you; allowed: the names of other users")
    if account is None and owned and force:
        return
    check_user(name, account)
    if owned and not force:
        raise NeedsForce(
            f"user '{name}' owns nodes ({', '.join(owned)}); they are released, and their data is gone, with --force"
        )


def check_password(text: object) -> str:
    """The refusal does not repeat the password, because refusals are logged."""
    if (
        not isinstance(text, str)
        or not MIN_PASSWORD_LENGTH <= len(text) <= MAX_PASSWORD_LENGTH
        or not text.isprintable()
    ):
        raise InvalidRequest(f"this password is not accepted; allowed: {PASSWORD_RULE}")
    return text


def views(
    accounts: Iterable[BrokerAccount], nodes: Iterable[NodeSummary], connected: Collection[str]
) -> list[UserView]:
    owned: dict[str, list[str]] = {}
    for node in nodes:
        owned.setdefault(node.owner, []).append(node.name)
    return [
        UserView(one.name, one.is_administrator, tuple(sorted(owned.get(one.name, ()))), one.name in connected)
        for one in sorted(accounts, key=lambda one: one.name)
    ]


def outdated(actual: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    """The accounts that have not what they should have: rights by the present public methods, or limits."""
    return [name for name, value in wanted.items() if actual.get(name) != value]
