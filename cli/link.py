"""One session of a console service, as seen from here: opened, fed, kept, closed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from cli.client import Call
from services.contracts import console
from services.contracts.errors import Unreachable

CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Message:
    """kind: one of `services.contracts.console`; offset: of the line after `body` (DATA of a line only)."""

    kind: str
    body: bytes
    offset: int | None = None
    stream: str = "out"


class Link:
    """Opens the session at once; Refused or Unreachable when it cannot be had."""

    def __init__(self, client: Any, host: str, method: str, timeout_s: float, **arguments: Any) -> None:
        self._client = client
        self._host = host
        self._service = console.service_on(host)
        self._received: deque[tuple[dict[str, Any], bytes]] = deque()
        queue = client.open_mailbox(lambda headers, body: self._received.append((headers, body)))
        opened = client.call(self._service, method, timeout_s=timeout_s, queue=queue, **arguments)
        self.session: str = opened["session"]
        self.offset: int = opened["offset"]
        self._sent = self._taken = 0
        self._keeping: Call | None = None
        self._keep_at = 0.0

    @property
    def may_send(self) -> bool:
        """False while the service has enough to do with what was sent (flow control of the contract)."""
        return self._sent - self._taken < console.INPUT_WINDOW

    def receive(self) -> list[Message]:
        messages = []
        while self._received:
            headers, body = self._received.popleft()
            if headers.get("session") != self.session:
                continue
            if headers.get("kind") == console.TAKEN:
                self._taken = int(body)
                continue
            messages.append(Message(headers["kind"], body, headers.get("offset"), headers.get("stream", "out")))
        return messages

    def send(self, kind: str, body: bytes = b"") -> None:
        headers = {"session": self.session, "kind": kind}
        self._client.post(console.INPUT_EXCHANGE, console.input_key(self._host), headers, body)
        if kind == console.DATA:
            self._sent += len(body)

    def keep(self, now: float) -> None:
        """To be called often. NotFound or Unreachable once the session is known to be lost."""
        if self._keeping is not None and self._keeping.done:
            self._keeping.result()
            self._keeping = None
        if now < self._keep_at:
            return
        if self._keeping is not None:
            raise Unreachable(f"service {self._service} does not answer")
        if self._keep_at:
            self._keeping = self._client.start(self._service, "keep_session", session=self.session)
        self._keep_at = now + console.KEEP_S

    def close(self) -> None:
        """Without waiting for the answer: a session that is not kept ends by itself."""
        self._client.start(self._service, "close_session", timeout_s=CLOSE_TIMEOUT_S, session=self.session)
