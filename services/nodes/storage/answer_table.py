"""The answers of commands in the database, by account and key of the command."""

from __future__ import annotations

import sqlalchemy as sa

from services.nodes.domain.answers import ANSWERS_KEPT, FORGOTTEN_AFTER_S, KEYS_KEPT, NOT_KEPT, AnsweredBefore
from services.nodes.storage.tables import answers


class AnswerTable:
    """The answers within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def check_new(self, account: str, key: str) -> None:
        """AnsweredBefore, unless this command has never come."""
        found = self._connection.scalar(sa.select(answers.c.answer).where(*_of(account, key)))
        if found is not None:
            raise AnsweredBefore(found)

    def put(self, account: str, key: str, text: str, now: float) -> None:
        """now: epoch seconds. Each new one makes the oldest of its account go."""
        if self._connection.execute(sa.update(answers).where(*_of(account, key)).values(answer=text)).rowcount:
            return
        of_account = answers.c.account == account
        last = self._connection.scalar(sa.select(sa.func.max(answers.c.number)).where(of_account)) or 0
        values = {"account": account, "key": key, "number": last + 1, "at": now, "answer": text}
        self._connection.execute(sa.insert(answers).values(values))
        stale = sa.update(answers).where(of_account, answers.c.number == last + 1 - ANSWERS_KEPT)
        self._connection.execute(stale.values(answer=NOT_KEPT))
        self._connection.execute(sa.delete(answers).where(of_account, answers.c.number <= last + 1 - KEYS_KEPT))

    def prune(self, now: float) -> None:
        self._connection.execute(sa.delete(answers).where(answers.c.at < now - FORGOTTEN_AFTER_S))

    def remove_all(self, account: str) -> None:
        self._connection.execute(sa.delete(answers).where(answers.c.account == account))


def _of(account: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (answers.c.account == account, answers.c.key == key)
