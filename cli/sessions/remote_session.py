"""The client side of one session of a console service: opened, fed, kept alive, closed."""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from walt.client import Call, Client
from walt.contracts import console
from walt.contracts.errors import EXIT_SESSION_LOST, Failed, Unreachable, WaltError

OPEN_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0


class SessionLost(Failed):
    exit_code = EXIT_SESSION_LOST


@dataclass(frozen=True)
class SessionMessage:
    """kind: a constant of `walt.contracts.console`; offset: position in the line after `body` (DATA of a line only)."""

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


class RemoteSession:
    """Starts to open when it is constructed, and can be used once `is_open`. Messages pass through the client."""

    def __init__(
        self, client: Client, host: str, method: str, timeout_s: float = OPEN_TIMEOUT_S, **arguments: Any
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
        self.offset = self.live_from = 0
        self._input_key = console.input_key(host)
        self._sent_bytes = self._taken_bytes = 0
        self._unconfirmed: deque[int] = deque()  # messages, as the position after each
        self._keeping: Call | None = None
        self._renew_at = 0.0

    def is_open(self, now: float) -> bool:
        """Whether it is open by now; Refused or Unreachable when it cannot be opened."""
        if self._opening is None:
            return True
        if not self._opening.done:
            if now > self._give_up_at:
                raise Unreachable(f"service {self._service} does not answer")
            return False
        opened = self._opening.result()
        self._opening = None
        self.session, self.offset = opened["session"], opened["offset"]
        self.live_from = opened.get("live_from", 0)  # none from a console of the version before
        self._input_key = opened.get("input_key") or self._input_key  # likewise
        return True

    def wait_until_open(self) -> None:
        while not self.is_open(time.monotonic()):
            self._client.drain(max(0.0, self._give_up_at - time.monotonic()))

    @property
    def may_send(self) -> bool:
        """False while the service has not processed enough of the input sent so far (flow control of the contract)."""
        is_ahead = self.unconfirmed_bytes >= console.INPUT_WINDOW
        return bool(self.session) and not is_ahead and len(self._unconfirmed) < console.INPUT_WINDOW_MESSAGES

    @property
    def unconfirmed_bytes(self) -> int:
        """Input that was sent, and of which the service has not told that it was taken."""
        return self._sent_bytes - self._taken_bytes

    def receive(self) -> list[SessionMessage]:
        """All messages that have arrived."""
        messages = []
        while message := self.receive_one():
            messages.append(message)
        return messages

    def receive_one(self) -> SessionMessage | None:
        """The next message that has arrived. Unread messages stay queued and finally throttle the sender."""
        while self.session and (message := self._mailbox.take()):
            headers, body = message
            if headers.get("session") != self.session:
                continue
            if headers.get("kind") == console.TAKEN:
                self._taken_bytes = int(body)
                while self._unconfirmed and self._unconfirmed[0] <= self._taken_bytes:
                    self._unconfirmed.popleft()
                continue
            return SessionMessage(headers["kind"], body, headers.get("offset"), headers.get("stream", "out"))
        return None

    def send(self, kind: str, body: bytes = b"") -> None:
        headers = {"session": self.session, "kind": kind}
        self._client.post(console.INPUT_EXCHANGE, self._input_key, headers, body)
        if kind == console.DATA:
            self._sent_bytes += len(body)
            self._unconfirmed.append(self._sent_bytes)

    def keep(self, now: float) -> None:
        """Renew the lease when it is due; call it often. NotFound or Unreachable once the session is lost."""
        if self._keeping is not None and self._keeping.done:
            self._keeping.result()
            self._keeping = None
        if now < self._renew_at:
            return
        if self._keeping is not None:
            raise Unreachable(f"service {self._service} does not answer")
        if self._renew_at:
            self._keeping = self._client.start(self._service, "keep_session", session=self.session)
        self._renew_at = now + console.LEASE_RENEW_S

    def keep_while_blocked(self) -> None:
        """Renew the lease while messages cannot be received. A loss is reported by the next `keep`."""
        with contextlib.suppress(WaltError):
            while wait_for_messages(self._client, 0):
                pass
            self.keep(time.monotonic())

    def close(self) -> None:
        """Without waiting for the reply: a session that is not renewed ends anyway."""
        if self.session:
            self._client.start(self._service, "close_session", timeout_s=CLOSE_TIMEOUT_S, session=self.session)

    def close_mailbox(self) -> None:
        """Stop receiving messages."""
        self._client.close_mailbox(self._mailbox)


def wait_for_messages(client: Client, timeout_s: float) -> bool:
    """Receive what arrives within timeout_s; False if nothing does. Unreachable without a connection."""
    descriptor = client.fileno()
    if descriptor is None:
        raise Unreachable("the connection to the broker is lost")
    if not select.select([descriptor], [], [], timeout_s)[0]:
        return False
    client.drain(0)
    return True
