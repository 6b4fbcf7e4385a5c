"""Sessions: who is connected to what, and until when; the same for lines, shells, pings and forwarded ports."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from services.console import metrics
from services.console.amqp_streams import InputMessage, SessionPublisher, UserGone
from services.kit import tasks
from walt.contracts import console
from walt.contracts.errors import Conflict, InvalidRequest, NotFound
from walt.contracts.nodes import NodeTarget, NodeWanted

log = logging.getLogger(__name__)

USERS_LOGGED = 1000  # of whose dropped messages the first is logged
MESSAGE_OVERHEAD_BYTES = 64  # counted for each waiting message: an empty one takes memory too


class Endpoint(Protocol):
    """The node's side of a session: a viewer of its line, a process, or a TCP connection."""

    kind: str

    def run(self, publisher: SessionPublisher) -> None:
        """Send all output to its end, and then an EXIT."""

    def handle(self, message: InputMessage, publisher: SessionPublisher) -> None:
        """Process one message of input; may wait until the node takes it."""

    def stop(self, reason: str = "") -> None:
        """Make `run` come to its end, and send the reason to the user before the EXIT."""


class Session:
    """One user, one endpoint, two green threads: a slow user or a node that reads no input delays only this session."""

    def __init__(self, user: str, target: NodeTarget, endpoint: Endpoint, publisher: SessionPublisher) -> None:
        self.id = publisher.session
        self.user = user
        self.node_id = target.id
        self.owner, self.version = target.owned_by, target.version  # of the node when the session was authorized
        self.endpoint = endpoint
        self.renewed_at = time.monotonic()
        self._publisher = publisher
        self._inbox: deque[InputMessage] = deque()
        self._waiting_bytes = 0
        self._taken_bytes = 0
        self._arrived = tasks.Signal()

    def start(self, on_end: Callable[[Session], None]) -> None:
        metrics.SESSIONS.labels(self.endpoint.kind).inc()
        self._on_end = on_end
        self._handling = tasks.spawn(self._handle_input)
        self._running = tasks.spawn(self._run)
        tasks.sleep()  # both have begun: from now on one that is killed cleans up

    def put(self, message: InputMessage) -> None:
        """Never waits. A client that sends too far ahead of what is taken loses its session."""
        self._waiting_bytes += _cost(message)
        if self._waiting_bytes > console.MAX_INPUT_WAITING:
            self._inbox.clear()
            self._waiting_bytes = 0
            limit = console.MAX_INPUT_WAITING
            self.endpoint.stop(f"closed: more than {limit} bytes of input were waiting to be taken")
            return
        self._inbox.append(message)
        self._arrived.set()

    def end(self) -> None:
        """At once: nothing more is sent to the user."""
        self.endpoint.stop()
        self._running.kill()

    def _run(self) -> None:
        try:
            self.endpoint.run(self._publisher)
        except UserGone as gone:
            log.info("session %s of %s: %s", self.id, self.user, gone)
        except Exception:
            log.exception("session %s of %s", self.id, self.user)
        finally:
            self._on_end(self)
            self.endpoint.stop()
            self._handling.kill()
            metrics.SESSIONS.labels(self.endpoint.kind).dec()

    def _handle_input(self) -> None:
        while True:
            self._arrived.wait()
            self._arrived.clear()
            while self._inbox:
                self._handle(self._inbox.popleft())

    def _handle(self, message: InputMessage) -> None:
        try:
            try:
                self.endpoint.handle(message, self._publisher)
            except InvalidRequest as error:
                self._publisher.send(console.NOTICE, str(error).encode())
            self._waiting_bytes -= _cost(message)
            if message.kind == console.DATA:
                self._acknowledge(len(message.body))
        except (UserGone, OSError) as error:
            log.info("session %s of %s: no more input: %s", self.id, self.user, error)
            self.endpoint.stop()

    def _acknowledge(self, size: int) -> None:
        metrics.BYTES.labels("in").inc(size)
        before, self._taken_bytes = self._taken_bytes, self._taken_bytes + size
        if not self._inbox or before // console.TAKEN_STEP != self._taken_bytes // console.TAKEN_STEP:
            self._publisher.send(console.TAKEN, str(self._taken_bytes).encode())


def _cost(message: InputMessage) -> int:
    return MESSAGE_OVERHEAD_BYTES + len(message.body)


class Sessions:
    """All sessions of this process. They end with it: clients open them again."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._logged_users: set[str] = set()

    def check_limit(self, user: str) -> None:
        limit = console.MAX_SESSIONS_PER_USER
        if sum(session.user == user for session in self._sessions.values()) >= limit:
            raise Conflict(f"{user} has {limit} sessions open; allowed: no more")

    def check_captures(self, user: str) -> None:
        """What frames of his wait for him is bounded by their number."""
        limit = console.MAX_CAPTURES_PER_USER
        kinds = [session.endpoint.kind for session in self._sessions.values() if session.user == user]
        if kinds.count(metrics.CAPTURE) >= limit:
            raise Conflict(f"{user} has {limit} captures open; allowed: no more")

    def users(self) -> set[str]:
        return {session.user for session in self._sessions.values()}

    def open(self, session: Session) -> str:
        self._sessions[session.id] = session
        session.start(self._forget)
        return session.id

    def keep(self, user: str, session_id: str) -> None:
        self._of(user, session_id).renewed_at = time.monotonic()

    def close(self, user: str, session_id: str) -> None:
        self._of(user, session_id).end()

    def deliver(self, message: InputMessage) -> None:
        """Pass input to its session; only the user of the session may send it."""
        session = self._sessions.get(message.session)
        if session is None or session.user != message.user:
            self._drop(message)
            return
        session.put(message)

    def stop_node(self, node_id: int, reason: str) -> None:
        for session in [one for one in self._sessions.values() if one.node_id == node_id]:
            session.endpoint.stop(reason)

    def change_owner(self, spec: NodeWanted) -> None:
        """Stop what was authorized under a former owner; whoever still has the right opens a new session."""
        for session in [one for one in self._sessions.values() if one.node_id == spec.id]:
            if session.version < spec.version and not session.owner.is_same(spec.owned_by):
                session.endpoint.stop(f"{spec.name} has changed hands")

    def reap(self) -> None:
        """End the sessions whose leases their clients have not renewed."""
        oldest = time.monotonic() - console.SESSION_LEASE_S
        for session in [one for one in self._sessions.values() if one.renewed_at < oldest]:
            log.info("the lease of session %s of %s was not renewed", session.id, session.user)
            session.end()

    def end_all(self) -> None:
        for session in list(self._sessions.values()):
            session.end()

    def _drop(self, message: InputMessage) -> None:
        """Count all; log only the first of each user, so that nobody can fill the disk."""
        metrics.DROPPED.inc()
        if message.user not in self._logged_users and len(self._logged_users) < USERS_LOGGED:
            self._logged_users.add(message.user)
            log.warning("dropped: %s from '%s' for session %r", message.kind, message.user, message.session[:64])

    def _forget(self, ended: Session) -> None:
        self._sessions.pop(ended.id, None)

    def _of(self, user: str, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None or session.user != user:
            raise NotFound(f"session '{session_id}' is not open")
        return session
