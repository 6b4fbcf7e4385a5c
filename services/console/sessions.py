"""Sessions: who is connected to what, for how long; the same for lines, shells, pings and connections."""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Protocol

import eventlet
from eventlet.event import Event

from services.console import metrics
from services.console.courier import Input, Outbox, ViewerGone
from services.contracts import console
from services.contracts.errors import Conflict, InvalidRequest, NotFound
from services.contracts.nodes import NodeTarget, NodeWanted

log = logging.getLogger(__name__)

REAP_EVERY_S = 2.0
MESSAGE_COST_BYTES = 64  # an empty message takes memory too


class Activity(Protocol):
    """What a session is about: one viewer of a line, one program, one connection."""

    kind: str

    def pump(self, outbox: Outbox) -> None:
        """Send what there is to see, to its end, and then an EXIT."""

    def take(self, message: Input, outbox: Outbox) -> None:
        """One message of input; may wait until it is taken."""

    def stop(self, reason: str = "") -> None:
        """Make `pump` come to its end; it tells the viewer the reason."""


class Session:
    """One user, one activity, two greenthreads: a slow viewer or a full input makes only this session wait."""

    def __init__(self, user: str, target: NodeTarget, activity: Activity, uri: str, queue: str) -> None:
        self.id = uuid.uuid4().hex
        self.user = user
        self.node_id = target.id
        self.owner, self.version = target.owner, target.version  # of the node, when the session was allowed
        self.activity = activity
        self.kept_at = time.monotonic()
        self._outbox = Outbox(uri, queue, self.id)
        self._inbox: deque[Input] = deque()
        self._waiting_bytes = 0
        self._taken_bytes = 0
        self._arrived = Event()

    def start(self, on_end: Callable[[Session], None]) -> None:
        metrics.SESSIONS.labels(self.activity.kind).inc()
        self._on_end = on_end
        self._taking = eventlet.spawn(self._take_for_ever)
        self._pumping = eventlet.spawn(self._pump)
        eventlet.sleep(0)  # both have begun: what is killed from now on cleans up

    def put(self, message: Input) -> None:
        """Never waits. A client that runs too far ahead of what is taken loses its session."""
        self._waiting_bytes += _cost(message)
        if self._waiting_bytes > console.MAX_INPUT_WAITING:
            self._inbox.clear()
            self._waiting_bytes = 0
            limit = console.MAX_INPUT_WAITING
            self.activity.stop(f"closed: more than {limit} bytes of input were waiting to be taken")
            return
        self._inbox.append(message)
        if not self._arrived.ready():
            self._arrived.send()

    def end(self) -> None:
        """Nothing more is told to the viewer."""
        self.activity.stop()
        self._pumping.kill()

    def _pump(self) -> None:
        try:
            self.activity.pump(self._outbox)
        except ViewerGone as gone:
            log.info("session %s of %s: %s", self.id, self.user, gone)
        except Exception:
            log.exception("session %s of %s", self.id, self.user)
        finally:
            self._on_end(self)
            self.activity.stop()
            self._taking.kill()
            self._outbox.close()
            metrics.SESSIONS.labels(self.activity.kind).dec()

    def _take_for_ever(self) -> None:
        while True:
            self._arrived.wait()
            self._arrived = Event()
            while self._inbox:
                self._take(self._inbox.popleft())

    def _take(self, message: Input) -> None:
        try:
            try:
                self.activity.take(message, self._outbox)
            except InvalidRequest as error:
                self._outbox.send(console.NOTICE, str(error).encode())
            self._waiting_bytes -= _cost(message)
            if message.kind == console.DATA:
                self._count(len(message.body))
        except (ViewerGone, OSError) as error:
            log.info("session %s of %s: input is over: %s", self.id, self.user, error)
            self.activity.stop()

    def _count(self, size: int) -> None:
        metrics.BYTES.labels("in").inc(size)
        before, self._taken_bytes = self._taken_bytes, self._taken_bytes + size
        if before // console.TAKEN_STEP != self._taken_bytes // console.TAKEN_STEP:
            self._outbox.send(console.TAKEN, str(self._taken_bytes).encode())


def _cost(message: Input) -> int:
    return MESSAGE_COST_BYTES + len(message.body)


class Sessions:
    """All sessions of this process. They end with it: clients open them again."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._dropped_from: set[str] = set()

    def check_room(self, user: str) -> None:
        limit = console.MAX_SESSIONS_PER_USER
        if sum(one.user == user for one in self._sessions.values()) >= limit:
            raise Conflict(f"{user} has {limit} sessions open; allowed: no more")

    def open(self, session: Session) -> str:
        self._sessions[session.id] = session
        session.start(self._forget)
        return session.id

    def keep(self, user: str, session_id: str) -> None:
        self._of(user, session_id).kept_at = time.monotonic()

    def close(self, user: str, session_id: str) -> None:
        self._of(user, session_id).end()

    def deliver(self, message: Input) -> None:
        """Input from the bus; only its session's own user may send it."""
        session = self._sessions.get(message.session)
        if session is None or session.user != message.user:
            self._drop(message)
            return
        session.put(message)

    def stop_node(self, node_id: int, reason: str) -> None:
        for session in [one for one in self._sessions.values() if one.node_id == node_id]:
            session.activity.stop(reason)

    def change_owner(self, node: NodeWanted) -> None:
        """What was allowed under a former owner is so no more; who still may opens a new session."""
        for session in [one for one in self._sessions.values() if one.node_id == node.id and one.owner != node.owner]:
            if session.version < node.version:
                session.activity.stop(f"{node.name} has changed hands")

    def reap_for_ever(self) -> None:
        while True:
            eventlet.sleep(REAP_EVERY_S)
            oldest = time.monotonic() - console.LOST_AFTER_S
            for session in [one for one in self._sessions.values() if one.kept_at < oldest]:
                log.info("session %s of %s was not kept", session.id, session.user)
                session.end()

    def end_all(self) -> None:
        for session in list(self._sessions.values()):
            session.end()

    def _drop(self, message: Input) -> None:
        """All are counted; of each user the first is logged, so that nobody fills the disk with them."""
        metrics.DROPPED.inc()
        if message.user not in self._dropped_from:
            self._dropped_from.add(message.user)
            log.warning("dropped: %s from '%s' for session %r", message.kind, message.user, message.session[:64])

    def _forget(self, ended: Session) -> None:
        self._sessions.pop(ended.id, None)

    def _of(self, user: str, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None or session.user != user:
            raise NotFound(f"session '{session_id}' is not open")
        return session
