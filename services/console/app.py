"""The parts of console put together: lines, sessions, the input of users, and the reconciliation with `nodes`."""

from __future__ import annotations

import contextlib
import logging
import shutil
import textwrap
from dataclasses import replace
from typing import Any

from services.console import health, metrics, requests
from services.console.amqp_streams import SessionPublisher, UserInputs
from services.console.line import scrollback
from services.console.line.lines import ConsoleLines
from services.console.line.viewer import LineViewer
from services.console.reconcile import Reconciler
from services.console.requests import SessionRequest
from services.console.session import child_process
from services.console.session.capture import CaptureStream
from services.console.session.child_process import ChildProcess
from services.console.session.forward import PortForward
from services.console.session.remote_hangup import ProcessGroupFinder, hangup_argv, with_marker
from services.console.session.sessions import Endpoint, Session, Sessions
from services.console.session.ssh import Login
from services.console.session.terminal import TerminalRequest
from services.kit import tasks
from services.kit.bus.bus import Bus
from services.kit.bus.streams import StreamPublisher
from services.kit.environment import Environment
from services.kit.reconcile_loop import keep_in_step
from services.kit.registry_guard import RegistryGuard
from services.kit.ssh import CONNECTION_FAILED
from walt.contracts import bootserver, console, netemu, nodes, serialization
from walt.contracts.bootserver import NodeAccess
from walt.contracts.checks import Check
from walt.contracts.console import COMMAND_OUTPUT_CHARS, CommandResult, LinePaths, OpenedSession
from walt.contracts.errors import Failed
from walt.contracts.netemu import CaptureTarget, OpenCapture
from walt.contracts.nodes import NodeTarget, Owner, Specs

log = logging.getLogger(__name__)

RECONCILE_S = 300.0
REAP_EVERY_S = 2.0
TRIM_EVERY_S = 1.0
HANGUP_LIMIT_S = 15.0
MAX_SHOWN = 60  # characters of a command, in an error


class ConsoleApp:
    def __init__(self, env: Environment, bus: Bus) -> None:
        self._bus = bus
        self._run_dir = env.run_dir / "console"
        self.host = env.host
        self.ssh = env.variable("WALT_SSH", "ssh")
        self.lines = ConsoleLines(env.lines_dir)
        self.sessions = Sessions()
        self.inputs = UserInputs(env.amqp_uri, env.host, self.sessions.deliver)
        self._output = StreamPublisher(env.amqp_uri)
        self._registry = RegistryGuard(env.lines_dir, console.service_on(env.host), bus.call)
        self.specs = Reconciler(self.lines, self.sessions, self._registry, self._get_specs)
        self._tasks: list[tasks.Task] = []

    def start(self) -> None:
        shutil.rmtree(self._run_dir, ignore_errors=True)  # keys of shells that ended with the last process
        self.lines.reopen()
        self._tasks = [
            tasks.spawn_loop("sessions that are not kept", self._reap, every_s=REAP_EVERY_S),
            tasks.spawn_loop("trimming of console lines", self.lines.trim, every_s=TRIM_EVERY_S),
            tasks.spawn(keep_in_step, self.specs.reconcile, RECONCILE_S, self._registry.wake),
        ]

    def stop(self) -> None:
        for task in self._tasks:
            task.kill()
        self.sessions.end_all()
        self.inputs.close()
        self._output.close()
        self.lines.close()

    def diagnose(self) -> list[Check]:
        return health.diagnose(self.host, len(self.lines.ids()), self.inputs.unheard(), self.ssh, self._registry.fault)

    def open_line(self, request: SessionRequest, offset: int | None, *, read_only: bool, follow: bool) -> OpenedSession:
        action = nodes.WATCH_CONSOLE if read_only else nodes.USE_CONSOLE
        target = requests.check_line(self._admit(request, action))
        line = self.lines.get(target.id, target.name)
        extent = line.recording.extent()
        replay = scrollback.replay(extent, offset)
        viewer = LineViewer(line, replay, read_only, None if follow else extent.end)
        return self._open(request, target, viewer, replay.offset, extent.end)

    def open_shell(
        self, request: SessionRequest, command: tuple[str, ...], terminal: TerminalRequest | None
    ) -> OpenedSession:
        """A login shell, or a command. sshd hangs up what runs on a terminal; we hang up the others."""
        target = requests.check_booted(self._admit(request, nodes.LOG_IN))
        login, finder = Login(self.ssh, self._run_dir, self._access(target.id)), ProcessGroupFinder()
        with contextlib.ExitStack() as undo:
            undo.callback(login.discard)
            remote_argv = with_marker(command) if command and terminal is None else command
            shell = ChildProcess(
                metrics.SHELL,
                login.argv(remote_argv, terminal=terminal is not None),
                terminal,
                failure=login.failure,
                filter_stderr=finder.filter,
                on_end=lambda killed: _log_out(login, finder.group if killed else None),
            )
            undo.pop_all()
        return self._open(request, target, shell)

    def open_ping(self, request: SessionRequest, count: int) -> OpenedSession:
        target = self._admit(request, nodes.PING)
        return self._open(request, target, ChildProcess(metrics.PING, requests.ping_argv(target.ip, count)))

    def open_forward(self, request: SessionRequest, port: int) -> OpenedSession:
        target = self._admit(request, nodes.CONNECT)
        return self._open(request, target, PortForward(target.name, target.ip, port))

    def open_capture(self, request: SessionRequest, network: str, expression: str, count: int) -> OpenedSession:
        target = requests.check_ports(self._admit(request, nodes.CAPTURE))
        self.sessions.check_captures(request.user)
        port = CaptureTarget(target.id, target.name, target.owner, network)
        arguments: dict[str, Any] = {"target": serialization.dump(port), "expression": expression, "count": count}
        found = self._bus.call(netemu.service_on(self.host), "open_capture", **arguments)
        capture = CaptureStream(serialization.load(OpenCapture, found))
        self.sessions.check_captures(request.user)  # others may have been opened meanwhile
        return self._open(request, target, capture)

    def run_command(self, node_id: int, command: tuple[str, ...], timeout_s: float) -> CommandResult:
        access = self._access(node_id)
        login = Login(self.ssh, self._run_dir, access)
        try:
            status, output = child_process.run(login.argv(command), timeout_s, 4 * COMMAND_OUTPUT_CHARS)
            if status == CONNECTION_FAILED and (message := login.message()):
                raise Failed(f"{access.ip} cannot be reached by ssh: {message}")
            return CommandResult(status, output[-COMMAND_OUTPUT_CHARS:])
        except Failed as error:
            shown = textwrap.shorten(" ".join(command), MAX_SHOWN, placeholder="…")
            raise Failed(f"'{shown}' on {access.ip}: {error}") from None
        finally:
            login.discard()

    def prepare_line(self, node_id: int, name: str, owner: Owner | None) -> LinePaths:
        line = self.lines.get(node_id, name)
        try:
            if owner is not None:
                line.recording.change_owner(owner)
            line.recording.mark_power_on(name)
        except OSError as error:
            raise Failed(f"the console line in {line.folder} cannot be written: {error.strerror}") from error
        return line.paths()

    def _admit(self, request: SessionRequest, action: str) -> NodeTarget:
        """The node, if `nodes` allows the action, and if it lives on this host."""
        requests.check_queue(request.user, request.queue)
        found = self._bus.call(nodes.SERVICE, "authorize", user=request.user, name=request.node, action=action)
        target = requests.check_host(serialization.load(NodeTarget, found), self.host)
        self.sessions.check_limit(request.user)
        self.inputs.open(request.user)
        self.specs.check_owner(target)
        return target

    def _open(
        self, request: SessionRequest, target: NodeTarget, endpoint: Endpoint, offset: int = 0, live_from: int = 0
    ) -> OpenedSession:
        publisher = SessionPublisher(self._output, request.queue)
        session = self.sessions.open(Session(request.user, target, endpoint, publisher))
        return OpenedSession(session, offset, live_from, self.inputs.key_of(request.user))

    def _reap(self) -> None:
        self.sessions.reap()
        self.inputs.close_unused(self.sessions.users())

    def _access(self, node_id: int) -> NodeAccess:
        found = self._bus.call(bootserver.SERVICE, "open_access", node_id=node_id)
        return serialization.load(NodeAccess, found)

    def _get_specs(self) -> Specs:
        found: Specs = serialization.load(Specs, self._bus.call(nodes.SERVICE, "get_specs", host=self.host))
        here = tuple(spec for spec in found.nodes if spec.host == self.host)  # of others there are disks here
        return replace(found, nodes=here)


def _log_out(login: Login, group: int | None) -> None:
    """group: the remote processes that are to end with the session; None if there are none."""
    if group is None:
        login.discard()
    else:
        tasks.spawn(_hang_up, login, group)


def _hang_up(login: Login, group: int) -> None:
    try:
        child_process.run(login.argv(hangup_argv(group)), HANGUP_LIMIT_S, 1000)
    except Failed as error:
        log.info("process group %d of a command that was cut off: %s", group, error)
    finally:
        login.discard()
