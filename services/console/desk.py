"""The parts of console put together, and their life: lines, sessions, the inlet, and making peace with `nodes`."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Sequence
from typing import Any

import eventlet
from nameko.extensions import DependencyProvider

from services.console import metrics, program, scrollback
from services.console.courier import Inlet
from services.console.forward import Forward
from services.console.hangup import Group, announced, order
from services.console.lines import Lines
from services.console.login import FAILED, Login
from services.console.program import Program
from services.console.rules import ping_argv
from services.console.sessions import Activity, Session, Sessions
from services.console.terminal import Terminal
from services.console.viewer import Viewer
from services.contracts import console, health, nodes, wire
from services.contracts.bootserver import NodeAccess
from services.contracts.errors import Conflict, Failed
from services.contracts.health import Check
from services.contracts.nodes import NodeRemoved, NodeTarget, NodeWanted
from services.kit import peers
from services.kit.environment import environment, variable
from services.kit.reconciliation import keep_in_step
from services.kit.registry import RegistryGuard

log = logging.getLogger(__name__)

RECONCILE_S = 300.0
HANG_UP_LIMIT_S = 15.0


class Desk(DependencyProvider):  # type: ignore[misc]  # nameko has no types
    """`self.desk`: everything that a call to console can ask for."""

    def setup(self) -> None:
        env = environment()
        self._uri = env.amqp_uri
        self._host = env.host
        self._run_dir = env.run_dir / "console"
        self._ssh = variable("WALT_SSH", "ssh")
        self.lines = Lines(env.lines_dir, env.vm_uid)
        self._registry = RegistryGuard(env.lines_dir)
        self.sessions = Sessions()
        self._wanted: dict[int, NodeWanted] = {}  # the newest wish that was heard of each node
        self._inlet = Inlet(env.amqp_uri, env.host, self.sessions.deliver)

    def start(self) -> None:
        shutil.rmtree(self._run_dir, ignore_errors=True)  # keys of shells that ended with the last process
        self.lines.reopen()
        endless = (self._inlet.run, self.sessions.reap_for_ever, self.lines.trim_for_ever)
        self._threads = [eventlet.spawn(task) for task in endless]
        self._threads.append(eventlet.spawn(keep_in_step, self._reconcile, RECONCILE_S))

    def stop(self) -> None:
        for thread in self._threads:
            thread.kill()
        self.sessions.end_all()
        self.lines.close()

    def get_dependency(self, worker_ctx: Any) -> Desk:
        return self

    def watch(
        self, user: str, queue: str, target: NodeTarget, offset: int | None, *, read_only: bool, follow: bool
    ) -> console.Opened:
        self._admit(user, target)
        line = self.lines.get(target.id, target.name)
        extent = line.log.extent()
        replay = scrollback.replay(extent, offset)
        viewer = Viewer(line, replay, read_only, None if follow else extent.end)
        return self._open(user, queue, target, viewer, replay.offset)

    def log_in(
        self,
        user: str,
        queue: str,
        target: NodeTarget,
        access: NodeAccess,
        command: tuple[str, ...],
        on: Terminal | None,
    ) -> console.Opened:
        self._admit(user, target)
        login, group = Login(self._ssh, self._run_dir, access), Group()
        with contextlib.ExitStack() as undo:
            undo.callback(login.discard)
            words = announced(command) if command and on is None else command
            argv = login.argv(words, on_terminal=on is not None)
            shell = Program(
                metrics.SHELL,
                argv,
                on,
                reason=login.reason,
                hear=group.hear,
                clean_up=lambda cut_off: _log_out(login, group.number if cut_off else None),
            )
            undo.pop_all()
        return self._open(user, queue, target, shell)

    def ping(self, user: str, queue: str, target: NodeTarget, count: int) -> console.Opened:
        self._admit(user, target)
        return self._open(user, queue, target, Program(metrics.PING, ping_argv(target.ip, count)))

    def connect(self, user: str, queue: str, target: NodeTarget, port: int) -> console.Opened:
        self._admit(user, target)
        return self._open(user, queue, target, Forward(target.name, target.ip, port))

    def run(self, access: NodeAccess, command: Sequence[str], timeout_s: float) -> console.CommandEnd:
        login = Login(self._ssh, self._run_dir, access)
        try:
            status, output = program.run(login.argv(command), timeout_s, 4 * console.COMMAND_OUTPUT_CHARS)
            if status == FAILED and (said := login.said()):
                raise Failed(f"{access.ip} cannot be reached by ssh: {said}")
            return console.CommandEnd(status, output[-console.COMMAND_OUTPUT_CHARS :])
        except Failed as why:
            raise Failed(f"'{' '.join(command)}' on {access.ip}: {why}") from None
        finally:
            login.discard()

    def prepare(self, node_id: int, name: str, owner: str | None) -> console.Line:
        line = self.lines.get(node_id, name)
        try:
            if owner is not None:
                line.log.change_owner(owner)
            line.log.mark_power_on(name)
        except OSError as error:
            raise Failed(f"the console line in {line.folder} cannot be written: {error.strerror}") from error
        return line.place()

    def forget(self, removed: NodeRemoved) -> None:
        if self._registry.allows(f"the removal of {removed.name}"):
            self.remove(removed.id, f"{removed.name} is removed")

    def remove(self, node_id: int, reason: str) -> None:
        self._wanted.pop(node_id, None)
        self.sessions.stop_node(node_id, reason)
        self.lines.remove(node_id)

    def change_owner(self, node: NodeWanted) -> None:
        """Sessions that were allowed under a former owner end, and what the console has shown is shown no more."""
        if node.id in self._wanted and node.version < self._wanted[node.id].version:
            return  # late
        self._wanted[node.id] = node
        self.lines.change_owner(node.id, node.owner)
        self.sessions.change_owner(node)

    def checks(self) -> list[Check]:
        return [
            Check("console lines", health.OK, f"{len(self.lines.ids())} lines on {self._host}"),
            _check(
                "console input",
                self._inlet.listening,
                "input of users is heard",
                "the broker gives no input",
                "what users type reaches no node",
                "see the log of console and of the broker",
            ),
            _check(
                "ssh client",
                shutil.which(self._ssh) is not None,
                f"{self._ssh} is there",
                f"{self._ssh} is missing",
                "walt node shell, run and cp do not work",
                "apt install openssh-client",
            ),
            _check(
                "ping",
                shutil.which("ping") is not None,
                "ping is there",
                "ping is missing",
                "walt node ping does not work",
                "apt install iputils-ping",
            ),
        ]

    def _admit(self, user: str, target: NodeTarget) -> None:
        self.sessions.check_room(user)
        newest = self._wanted.get(target.id)
        if newest is not None and newest.version > target.version and newest.owner != target.owner:
            raise Conflict(f"{target.name} has changed hands just now; try again")

    def _open(self, user: str, queue: str, target: NodeTarget, activity: Activity, offset: int = 0) -> console.Opened:
        session = Session(user, target, activity, self._uri, queue)
        return console.Opened(self.sessions.open(session), offset)

    def _reconcile(self) -> None:
        """Forget the lines of nodes whose removal was not heard. The answer counts for more than what was heard before
        it was asked for, also with lower versions: a backup of the registry may have been restored."""
        self._registry.check()
        known, heard = self.lines.ids(), dict(self._wanted)
        wanted = wire.load_all(NodeWanted, peers.call(nodes.SERVICE, "wanted_on_host", host=self._host))
        for node_id in known - {one.id for one in wanted}:
            self.remove(node_id, "the node is removed")
        for node in wanted:
            if self._wanted.get(node.id) is heard.get(node.id):
                self._wanted.pop(node.id, None)
            self.change_owner(node)


def _log_out(login: Login, group: int | None) -> None:
    """group: the processes that are left of a command, and are to end with its session."""
    if group is None:
        login.discard()
    else:
        eventlet.spawn_n(_hang_up, login, group)


def _hang_up(login: Login, group: int) -> None:
    try:
        program.run(login.argv(order(group)), HANG_UP_LIMIT_S, 1000)
    except Failed as error:
        log.info("process group %d of a command that was cut off: %s", group, error)
    finally:
        login.discard()


def _check(subject: str, good: bool, found: str, missing: str, consequence: str, mend: str) -> Check:
    if good:
        return Check(subject, health.OK, found)
    return Check(subject, health.FAIL, missing, consequence, mend)
