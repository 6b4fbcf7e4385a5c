"""One session of a console service, as seen from here: opened, fed, kept, closed."""

from __future__ import annotations

import contextlib
import select
import time
from dataclasses import dataclass
from typing import Any

from cli.client import Call
from services.contracts import console
from services.contracts.errors import Unreachable, WaltError

OPEN_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Message:
    """kind: one of `services.contracts.console`; offset: of the line after `body` (DATA of a line only)."""

    kind: str
    body: bytes
    offset: int | None = None
    stream: str = "out"

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def status(self) -> int:
        """Of an EXIT."""
        return int(self.body) if self.body.isdigit() else 1


class Link:
    """Begins to open at once; it is used once `is_open`."""

    def __init__(
        self, client: Any, host: str, method: str, timeout_s: float = OPEN_TIMEOUT_S, **arguments: Any
    ) -> None:
        self._client = client
        self._host = host
        self._service = console.service_on(host)
        self._mailbox = client.open_mailbox()
        self._opening: Call | None = client.start(
            self._service, method, timeout_s=timeout_s, queue=self._mailbox.name, **arguments
        )
        self._give_up_at = time.monotonic() + timeout_s
        self.session = ""
        self.offset = 0
        self._sent = self._taken = 0
        self._keeping: Call | None = None
        self._keep_at = 0.0

    def is_open(self, now: float) -> bool:
        """Refused or Unreachable when it cannot be had."""
        if self._opening is None:
            return True
        if not self._opening.done:
            if now > self._give_up_at:
                raise Unreachable(f"service {self._service} does not answer")
            return False
        opened = self._opening.result()
        self._opening = None
        self.session, self.offset = opened["session"], opened["offset"]
        return True

    def wait(self) -> Link:
        """Until it is open."""
        while not self.is_open(time.monotonic()):
            self._client.drain(max(0.0, self._give_up_at - time.monotonic()))
        return self

    @property
    def may_send(self) -> bool:
        """False while the service has enough to do with what was sent (flow control of the contract)."""
        return bool(self.session) and self._sent - self._taken < console.INPUT_WINDOW

    def receive(self) -> list[Message]:
        """All that is there."""
        messages = []
        while message := self.receive_one():
            messages.append(message)
        return messages

    def receive_one(self) -> Message | None:
        """What is not received waits, at last at its sender."""
        while self.session and (taken := self._mailbox.take()):
            headers, body = taken
            if headers.get("session") != self.session:
                continue
            if headers.get("kind") == console.TAKEN:
                self._taken = int(body)
                continue
            return Message(headers["kind"], body, headers.get("offset"), headers.get("stream", "out"))
        return None

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

    def idle(self) -> None:
        """Keep it while its messages cannot be received. That it is lost is for the next `keep` to tell."""
        with contextlib.suppress(WaltError):
            while self._client.fileno() is not None and select.select([self._client.fileno()], [], [], 0)[0]:
                self._client.drain(0)
            self.keep(time.monotonic())

    def close(self) -> None:
        """Without waiting for the answer: a session that is not kept ends by itself."""
        if self.session:
            self._client.start(self._service, "close_session", timeout_s=CLOSE_TIMEOUT_S, session=self.session)

    def forget(self) -> None:
        """No more messages are wanted."""
        self._client.close_mailbox(self._mailbox)
