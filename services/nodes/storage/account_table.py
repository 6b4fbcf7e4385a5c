"""The accounts in the database: present ones by name, and those that have ended, whose ids stay taken."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

import sqlalchemy as sa

from services.nodes.domain import accounts
from services.nodes.domain.accounts import Account, Claim
from services.nodes.storage import tables
from walt.contracts.limits import UNLIMITED, LimitsChange, UserLimits, Value

ACCOUNTS = tables.accounts
PRESENT = ACCOUNTS.c.removed_at.is_(None)


class AccountTable:
    """The accounts within one transaction. limits: of users without limits of their own."""

    def __init__(self, connection: sa.Connection, limits: UserLimits = UNLIMITED) -> None:
        self._connection = connection
        self._limits = limits

    def of(self, name: str) -> Account:
        """The present account of a caller, whom the broker vouches for. One that only the broker has, as it was made by
        other means than ours, is entered; Denied for one that has ended: such a request was under way meanwhile."""
        found = self.present(name)
        if found is not None:
            return found
        if self._connection.scalar(sa.select(ACCOUNTS.c.id).where(ACCOUNTS.c.name == name).limit(1)) is not None:
            raise accounts.removed(name)
        return self._enter(name)

    def known(self, name: str) -> Account:
        """As `of`, for a name that the broker does not vouch for: nothing is entered. Denied for an unknown one."""
        found = self.present(name)
        if found is None:
            raise accounts.unknown(name)
        return found

    def present(self, name: str) -> Account | None:
        columns = (ACCOUNTS.c.id, ACCOUNTS.c.name, ACCOUNTS.c.created_at)
        row = self._connection.execute(sa.select(*columns).where(PRESENT, ACCOUNTS.c.name == name)).one_or_none()
        return None if row is None else Account(*row)

    def limits(self, account: str) -> UserLimits:
        """Those of its own, and for the others those of all users."""
        return replace(self._limits, **self._own_limits(account))

    def change_limits(self, account: str, change: LimitsChange) -> None:
        changed = sa.update(ACCOUNTS).where(ACCOUNTS.c.id == account)
        self._connection.execute(changed.values(limits=change.of(self._own_limits(account))))

    def _own_limits(self, account: str) -> dict[str, Value]:
        return dict(self._connection.scalars(sa.select(ACCOUNTS.c.limits).where(ACCOUNTS.c.id == account)).one())

    def claim(self, name: str) -> Claim:
        """The present account of that name, or a new one, for one command alone; Conflict while another has it."""
        known = self.present(name)
        account = known or self._enter(name)
        row = self._connection.execute(
            sa.select(ACCOUNTS.c.pending, ACCOUNTS.c.pending_since).where(ACCOUNTS.c.id == account.id)
        ).one()
        now = time.time()
        accounts.check_unclaimed(name, row.pending, row.pending_since, now)
        claim = Claim(account, uuid.uuid4().hex, known is None)
        claimed = sa.update(ACCOUNTS).where(ACCOUNTS.c.id == account.id)
        self._connection.execute(claimed.values(pending=claim.token, pending_since=now))
        return claim

    def settle(self, claim: Claim) -> None:
        """The command is done. Conflict when the claim has passed to another."""
        if not self._close(claim):
            raise accounts.overtaken(claim.account.name)

    def settle_as_new(self, claim: Claim) -> Account:
        """As `settle`; what an account of before has, which only its name was left of, stays that one's."""
        if claim.is_new:
            self.settle(claim)
            return claim.account
        self.end(claim)
        return self._enter(claim.account.name)

    def end(self, claim: Claim) -> None:
        """The account is removed; Conflict as for `settle`."""
        if not self._close(claim, removed_at=time.time()):
            raise accounts.overtaken(claim.account.name)

    def abandon(self, claim: Claim) -> None:
        """The command has failed. An account that it had made is gone again: nobody was given it."""
        if claim.is_new:
            self._connection.execute(sa.delete(ACCOUNTS).where(*_held(claim)))
        else:
            self._close(claim)

    def _close(self, claim: Claim, **values: float) -> bool:
        """False when the claim has passed to another."""
        closed = sa.update(ACCOUNTS).where(*_held(claim)).values(pending="", pending_since=0.0, **values)
        return self._connection.execute(closed).rowcount == 1

    def _enter(self, name: str) -> Account:
        new = Account(uuid.uuid4().hex, name, time.time())
        values = {"id": new.id, "name": new.name, "created_at": new.created_at}
        self._connection.execute(sa.insert(ACCOUNTS).values(values))
        return new


def _held(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (ACCOUNTS.c.id == claim.account.id, ACCOUNTS.c.pending == claim.token)
