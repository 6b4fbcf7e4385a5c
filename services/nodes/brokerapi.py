"""The accounts of the broker, through RabbitMQ's management API. Decides nothing."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from services.contracts.errors import Failed, Unreachable
from services.contracts.rights import Rights, TopicRight
from services.nodes.users import Account

PATIENCE_S = 10.0
MISSING = 404


class BrokerApi:
    """`url`: http://USER:PASSWORD@HOST:PORT of an account with the tag "administrator"; rights are those on `vhost`."""

    def __init__(self, url: str, vhost: str) -> None:
        parts = urlsplit(url)
        self._where = (parts.hostname or "", parts.port or 15672)
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self._headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        self._vhost = vhost

    def accounts(self) -> list[Account]:
        return [_account(row) for row in self._ask("GET", "users")]

    def account(self, name: str) -> Account | None:
        row = self._ask("GET", f"users/{_quoted(name)}")
        return None if row is None else _account(row)

    def put(self, account: Account, password: str) -> None:
        """The account as it is to be; its rights are kept."""
        body = {"password": password, "tags": ",".join(sorted(account.tags))}
        self._ask("PUT", f"users/{_quoted(account.name)}", body)

    def delete(self, name: str) -> None:
        """The account and all its rights; nothing, when it is gone already. The broker closes its connections."""
        self._ask("DELETE", f"users/{_quoted(name)}")

    def rights(self) -> dict[str, Rights]:
        """By account."""
        topics: dict[str, list[TopicRight]] = {}
        for row in self._of_vhost("topic-permissions"):
            topics.setdefault(row["user"], []).append(TopicRight(row["exchange"], row["write"], row["read"]))
        return {
            row["user"]: Rights(
                row["configure"],
                row["write"],
                row["read"],
                tuple(sorted(topics.get(row["user"], ()), key=lambda topic: topic.exchange)),
            )
            for row in self._of_vhost("permissions")
        }

    def put_rights(self, name: str, rights: Rights) -> None:
        """Topics first: without one of them, a user could read what others call."""
        place = f"{_quoted(self._vhost)}/{_quoted(name)}"
        for topic in rights.topics:
            body = {"exchange": topic.exchange, "write": topic.write, "read": topic.read}
            self._ask("PUT", f"topic-permissions/{place}", body)
        plain = {"configure": rights.configure, "write": rights.write, "read": rights.read}
        self._ask("PUT", f"permissions/{place}", plain)

    def is_connected(self, name: str) -> bool:
        """The list of all connections would be up to five seconds old."""
        return bool(self._ask("GET", f"connections/username/{_quoted(name)}?columns=user"))

    def close_connections(self, name: str) -> None:
        self._ask("DELETE", f"connections/username/{_quoted(name)}")

    def _of_vhost(self, what: str) -> list[Any]:
        return [row for row in self._ask("GET", what) if row["vhost"] == self._vhost]

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer, None where there is none: nothing of that name, or nothing to tell."""
        connection = http.client.HTTPConnection(*self._where, timeout=PATIENCE_S)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/api/{path}", content, {**self._headers, "Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the broker does not answer about accounts ({error})") from None
        finally:
            connection.close()
        if answer.status == MISSING:
            return None
        if answer.status >= http.client.BAD_REQUEST:
            raise Failed(f"the broker refuses to {method} {path}: status {answer.status}: {said[:300]!r}")
        return json.loads(said) if said else None


def _account(row: dict[str, Any]) -> Account:
    return Account(row["name"], frozenset(row["tags"]))


def _quoted(text: str) -> str:
    return quote(text, safe="")
