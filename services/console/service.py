"""console@HOST: the serial lines of one host, and sessions on its nodes (shell, command, ping, forwarded port,
capture).

Owns:      the line of each node (socket, FIFO, recording) and the sessions of users.
Serves:    open_line, open_shell, open_ping, open_forward, open_capture, keep_session, close_session to users;
           prepare_line, run_command, diagnose to services.
Announces: nothing; bytes travel as messages of their own (walt/contracts/console.py).
Hears:     nodes NODE_WANTED (a new owner ends sessions), NODE_REMOVED; asks nodes for all specs at start and now and
           then, in case an event was missed.

Environment, beside the common: WALT_SSH (the ssh client; default ssh).
"""

from __future__ import annotations

from services.console.app import ConsoleApp
from services.console.requests import Command, Expression, FrameCount, PingCount, Port, Seconds, SessionRequest
from services.console.session.terminal import TerminalRequest
from services.kit.bus.app import AppProvider
from services.kit.bus.call_metrics import Metrics
from services.kit.bus.entrypoints import Caller, internal, on_event, public
from walt.contracts import console, nodes
from walt.contracts.checks import Check
from walt.contracts.console import CommandResult, LinePaths, OpenedSession
from walt.contracts.nodes import NodeRemoved, NodeWanted, Owner


class ConsoleService:
    name = console.SERVICE
    caller = Caller()
    app: ConsoleApp = AppProvider(ConsoleApp)
    metrics = Metrics()

    @public
    def open_line(
        self, node: str, queue: str, read_only: bool = False, offset: int | None = None, follow: bool = True
    ) -> OpenedSession:
        request = SessionRequest(self.caller, node, queue)
        return self.app.open_line(request, offset, read_only=read_only, follow=follow)

    @public
    def open_shell(
        self, node: str, queue: str, command: Command | None = None, terminal: TerminalRequest | None = None
    ) -> OpenedSession:
        return self.app.open_shell(SessionRequest(self.caller, node, queue), command or (), terminal)

    @public
    def open_ping(self, node: str, queue: str, count: PingCount = 10) -> OpenedSession:
        return self.app.open_ping(SessionRequest(self.caller, node, queue), count)

    @public
    def open_forward(self, node: str, port: Port, queue: str) -> OpenedSession:
        return self.app.open_forward(SessionRequest(self.caller, node, queue), port)

    @public
    def open_capture(
        self, node: str, network: str, queue: str, expression: Expression = "", count: FrameCount = 0
    ) -> OpenedSession:
        return self.app.open_capture(SessionRequest(self.caller, node, queue), network, expression, count)

    @public
    def keep_session(self, session: str) -> None:
        self.app.sessions.keep(self.caller, session)

    @public
    def close_session(self, session: str) -> None:
        self.app.sessions.close(self.caller, session)

    @internal
    def prepare_line(self, node_id: int, name: str, owner: str | None = None, owner_account: str = "") -> LinePaths:
        return self.app.prepare_line(node_id, name, None if owner is None else Owner(owner, owner_account))

    @internal
    def run_command(self, node_id: int, command: Command, timeout_s: Seconds) -> CommandResult:
        return self.app.run_command(node_id, command, timeout_s)

    @internal
    def diagnose(self) -> list[Check]:
        return self.app.diagnose()

    @on_event(nodes.SERVICE, nodes.NODE_WANTED)
    def on_node_wanted(self, spec: NodeWanted) -> None:
        self.app.specs.apply(spec)

    @on_event(nodes.SERVICE, nodes.NODE_REMOVED)
    def on_node_removed(self, removed: NodeRemoved) -> None:
        self.app.specs.remove(removed)
