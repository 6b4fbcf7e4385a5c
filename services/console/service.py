"""console@HOST: the serial lines of one host, and sessions on its nodes (shell, ping, connection), for many users at once.

Owns:      the line of each node (socket, scrollback) and the sessions of users.
Serves:    open_line, open_shell, open_ping, open_forward, keep_session, close_session to users;
           prepare_line, run_command, diagnose to services.
Announces: nothing; bytes go as raw messages (contracts/console.py).
Hears:     nodes NODE_WANTED (its owner: sessions end with it), NODE_REMOVED; asks nodes at start and now and then, for what was lost.

Environment, beside the common: WALT_SSH (the ssh client; default ssh).
"""

from __future__ import annotations

from typing import Any

from nameko.events import event_handler

from services.console import rules
from services.console.desk import Desk
from services.contracts import bootserver, console, nodes, wire
from services.contracts.bootserver import NodeAccess
from services.contracts.nodes import NodeRemoved, NodeTarget, NodeWanted
from services.kit import peers
from services.kit.entrypoints import Caller, internal, public
from services.kit.environment import environment
from services.kit.metrics import Metrics


class ConsoleService:
    name = console.SERVICE  # `load` in __main__.py adds the host
    caller = Caller()
    desk = Desk()
    metrics = Metrics()

    @public
    def open_line(
        self, node: str, queue: str, read_only: bool = False, offset: int | None = None, follow: bool = True
    ) -> dict[str, Any]:
        rules.check_queue(self.caller, queue)
        action = nodes.WATCH_CONSOLE if read_only else nodes.USE_CONSOLE
        target = rules.check_line(_authorized(self.caller, node, action))
        begin = rules.parse_offset(offset)
        return wire.dump(
            self.desk.watch(self.caller, queue, target, begin, read_only=bool(read_only), follow=bool(follow))
        )

    @public
    def open_shell(
        self, node: str, queue: str, command: list[str] | None = None, terminal: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        rules.check_queue(self.caller, queue)
        words, on = rules.parse_shell(command, terminal)
        target = rules.check_booted(_authorized(self.caller, node, nodes.LOG_IN))
        return wire.dump(self.desk.log_in(self.caller, queue, target, _access(target.id), words, on))

    @public
    def open_ping(self, node: str, queue: str, count: int = 10) -> dict[str, Any]:
        rules.check_queue(self.caller, queue)
        times = rules.parse_count(count)
        return wire.dump(self.desk.ping(self.caller, queue, _authorized(self.caller, node, nodes.PING), times))

    @public
    def open_forward(self, node: str, port: int, queue: str) -> dict[str, Any]:
        rules.check_queue(self.caller, queue)
        to = rules.parse_port(port)
        return wire.dump(self.desk.connect(self.caller, queue, _authorized(self.caller, node, nodes.CONNECT), to))

    @public
    def keep_session(self, session: str) -> None:
        self.desk.sessions.keep(self.caller, session)

    @public
    def close_session(self, session: str) -> None:
        self.desk.sessions.close(self.caller, session)

    @internal
    def prepare_line(self, node_id: int, name: str, owner: str | None = None) -> dict[str, Any]:
        return wire.dump(self.desk.prepare(node_id, name, owner))

    @internal
    def run_command(self, node_id: int, command: list[str], timeout_s: float) -> dict[str, Any]:
        (words, _), limit_s = rules.parse_shell(command, None), rules.parse_limit(timeout_s)
        return wire.dump(self.desk.run(_access(node_id), words, limit_s))

    @internal
    def diagnose(self) -> list[dict[str, Any]]:
        return wire.dump_all(self.desk.checks())

    @event_handler(nodes.SERVICE, nodes.NODE_WANTED)
    def on_node_wanted(self, event: dict[str, Any]) -> None:
        self.desk.change_owner(wire.load(NodeWanted, event))

    @event_handler(nodes.SERVICE, nodes.NODE_REMOVED)
    def on_node_removed(self, event: dict[str, Any]) -> None:
        self.desk.forget(wire.load(NodeRemoved, event))


def _authorized(user: str, node: str, action: str) -> NodeTarget:
    """What `nodes` allows; and the node must live on this host."""
    found = peers.call(nodes.SERVICE, "authorize", user=user, name=node, action=action)
    return rules.check_host(wire.load(NodeTarget, found), environment().host)


def _access(node_id: int) -> NodeAccess:
    return wire.load(NodeAccess, peers.call(bootserver.SERVICE, "open_access", node_id=node_id))
