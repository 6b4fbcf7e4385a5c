"""The accounts of the broker, through RabbitMQ's management API. Decides nothing."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from services.nodes.users.broker_use import BrokerBinding, BrokerObjects, ChannelWork
from services.nodes.users.rules import BrokerAccount, StoredAccount
from walt.contracts.broker_permissions import Rights, TopicRight
from walt.contracts.errors import Failed, Unreachable

ANSWER_S = 10.0
MISSING = 404
STATISTICS_S = 5.0  # between two of the broker
NO_HEADERS: Mapping[str, str] = {}


class ManagementApi:
    """url: http://USER:PASSWORD@HOST:PORT, an account with the tag "administrator"; rights are those on `vhost`."""

    def __init__(self, url: str, vhost: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 15672)
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self._headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        self._vhost = vhost

    def accounts(self) -> list[BrokerAccount]:
        return [_account(row) for row in self._request("GET", "users")]

    def account(self, name: str) -> BrokerAccount | None:
        row = self._request("GET", f"users/{_quoted(name)}")
        return None if row is None else _account(row)

    def put(self, account: BrokerAccount, password: str) -> None:
        """Create or change the account; its rights are kept."""
        body = {"password": password, "tags": ",".join(sorted(account.tags))}
        self._request("PUT", f"users/{_quoted(account.name)}", body)

    def stored(self) -> list[StoredAccount]:
        """All accounts as the broker stores them."""
        return [stored_account(row) for row in self._request("GET", "users")]

    def put_stored(self, account: StoredAccount) -> None:
        """With the password of before, which only its user knows."""
        hashed = {"password_hash": account.password_hash, "hashing_algorithm": account.hashing_algorithm}
        self._request("PUT", f"users/{_quoted(account.name)}", {**hashed, "tags": ",".join(sorted(account.tags))})

    def delete(self, name: str) -> None:
        """The account, its rights and its connections. No error when it is gone already."""
        self._request("DELETE", f"users/{_quoted(name)}")

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
        """Topics first: without them a user could read the calls of others."""
        path = f"{_quoted(self._vhost)}/{_quoted(name)}"
        for topic in rights.topics:
            body = {"exchange": topic.exchange, "write": topic.write, "read": topic.read}
            self._request("PUT", f"topic-permissions/{path}", body)
        plain = {"configure": rights.configure, "write": rights.write, "read": rights.read}
        self._request("PUT", f"permissions/{path}", plain)

    def limits(self) -> dict[str, dict[str, int]]:
        """By account: {'max-connections': 200, …}, of those that have any."""
        return {row["user"]: row["value"] for row in self._request("GET", "user-limits")}

    def put_limits(self, name: str, limits: Mapping[str, int]) -> None:
        for limit, value in limits.items():
            self._request("PUT", f"user-limits/{_quoted(name)}/{limit}", {"value": value})

    def is_connected(self, name: str) -> bool:
        """Asked for each user, since the list of all connections may be five seconds old."""
        return bool(self._request("GET", f"connections/username/{_quoted(name)}?columns=user"))

    def close_connections(self, name: str, reason: str = "") -> None:
        """reason: what their user is told."""
        headers = {"X-Reason": reason} if reason else {}
        self._request("DELETE", f"connections/username/{_quoted(name)}", headers=headers)

    def objects(self) -> BrokerObjects:
        """Sizes of queues may be some seconds old."""
        vhost = _quoted(self._vhost)
        queues = self._request("GET", f"queues/{vhost}?columns=name,message_bytes")
        exchanges = self._request("GET", f"exchanges/{vhost}?columns=name")
        return BrokerObjects(
            {row["name"]: row.get("message_bytes", 0) for row in queues},
            tuple(row["name"] for row in exchanges),
            tuple(_binding(row) for row in self._request("GET", f"bindings/{vhost}")),
        )

    def channels(self) -> dict[str, ChannelWork]:
        """By name; as of the broker's last statistics (STATISTICS_S)."""
        rows = self._request("GET", f"vhosts/{_quoted(self._vhost)}/channels?columns=name,user,reductions")
        return {row["name"]: ChannelWork(row["user"], row.get("reductions", 0)) for row in rows}

    def _of_vhost(self, kind: str) -> list[Any]:
        return [row for row in self._request("GET", kind) if row["vhost"] == self._vhost]

    def _request(self, method: str, path: str, body: object = None, headers: Mapping[str, str] = NO_HEADERS) -> Any:
        """The decoded answer; None when there is no such object, or the answer is empty."""
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_S)
        try:
            content = None if body is None else json.dumps(body)
            sent = {**self._headers, **headers, "Content-Type": "application/json"}
            connection.request(method, f"/api/{path}", content, sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the management API of the broker does not answer ({error})") from None
        finally:
            connection.close()
        if answer.status == MISSING:
            return None
        if answer.status >= http.client.BAD_REQUEST:
            raise Failed(f"the broker refuses to {method} {path}: status {answer.status}: {text[:300]!r}")
        return json.loads(text) if text else None


def stored_account(row: dict[str, Any]) -> StoredAccount:
    """row: as the API and the definitions of the broker have it."""
    return StoredAccount(row["name"], tuple(row["tags"]), row["password_hash"], row["hashing_algorithm"])


def _account(row: dict[str, Any]) -> BrokerAccount:
    return BrokerAccount(row["name"], frozenset(row["tags"]))


def _binding(row: dict[str, Any]) -> BrokerBinding:
    is_to_exchange = row["destination_type"] == "exchange"
    return BrokerBinding(row["source"], row["destination"], row["routing_key"], is_to_exchange, row["arguments"])


def _quoted(text: str) -> str:
    return quote(text, safe="")
