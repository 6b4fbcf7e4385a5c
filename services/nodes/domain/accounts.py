"""Pure: accounts, to which nodes, networks and images belong, and the claim of the one command that changes one."""

from __future__ import annotations

from dataclasses import dataclass

from walt.contracts.errors import Conflict, Denied

CLAIM_S = 60.0  # a command needs some requests of the broker, each with a limit


@dataclass(frozen=True)
class Account:
    """id: of this account only, also among former ones of the same name; created_at: epoch seconds."""

    id: str
    name: str
    created_at: float


@dataclass(frozen=True)
class Claim:
    """The right of one command to change an account. token: tells it from others; is_new: it has made the account."""

    account: Account
    token: str
    is_new: bool


def check_unclaimed(name: str, pending: str, since: float, now: float) -> None:
    """pending, since: of the claim, if any. One older than CLAIM_S, or of the future, was cut off by a crash."""
    if pending and 0 <= now - since < CLAIM_S:
        raise Conflict(f"another command is changing the account '{name}' at this moment; look again and retry")


def overtaken(name: str) -> Conflict:
    return Conflict(f"another command has changed the account '{name}' at the same moment; look again and retry")


def unknown(name: str) -> Denied:
    return Denied(f"no account '{name}'; allowed: users who have asked nodes for something before")


def removed(name: str) -> Denied:
    return Denied(f"the account '{name}' was removed; an administrator can add a new one: walt user add {name}")
