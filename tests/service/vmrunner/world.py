"""vmrunner as its own process, on a real RabbitMQ, among fakes of its peers and of qemu."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import eventlet
import eventlet.wsgi

from tests.support import specs
from tests.support.amqp_user import AmqpUser
from tests.support.fakes.bootserver import FakeBootserver
from tests.support.fakes.console import FakeConsole
from tests.support.fakes.fake_service import serving
from tests.support.fakes.netemu import FakeNetemu
from tests.support.fakes.nodes import FakeNodes
from tests.support.ports import free_port
from tests.support.wait import wait_until
from walt.contracts import bootserver, nodes, serialization, vmrunner
from walt.contracts.bootserver import NodeBooted
from walt.contracts.errors import Failed
from walt.contracts.nodes import FIRST_SLOT, NodeWanted, Revision
from walt.contracts.vmrunner import VmRemoved, VmReport

HOST = "lab"
NAME = vmrunner.service_on(HOST)
ROOT = Path(__file__).parents[3]
NODE = 5
NODES = (NODE, 6, 7, 8, 9)
MORE_SLOTS = (3, 4)  # of NODE
_markers = itertools.count(100)  # nodes that only ever are to be removed
SCRIPT = "#!ipxe\ninitrd initrd\nkernel vmlinuz walt.mac=${mac}\nboot\n"
LIMIT_S = 60


class Peers:
    """The fakes, which serve all tests of a module, since each takes a while to stop."""

    def __init__(self, uri: str, taps: dict[tuple[int, int], str]) -> None:
        self.uri = uri
        self.taps = taps
        self.nodes = FakeNodes()
        self.bootserver = FakeBootserver()
        self.console = FakeConsole(Path("/nonexistent"))
        self.netemu = FakeNetemu(taps=taps)

    def reset(self, folder: Path) -> None:
        for known in (self.nodes.specs, self.nodes.reports, self.nodes.removed, self.console.commands):
            known.clear()
        self.nodes.registry = "r1"
        self.nodes.revision = Revision()
        self.nodes.accepted.clear()
        self.bootserver.fault = None
        self.bootserver.persist_folder = ""
        self.bootserver.dropped.clear()
        self.console.fault = None
        self.console.folder = folder
        self.console.status_of = lambda command: 0


@contextlib.contextmanager
def peers(uri: str) -> Iterator[Peers]:
    """taps: connected to nothing, for qemu to hold; one per node, and more of NODE. Needs root."""
    ports = [*((node_id, FIRST_SLOT) for node_id in NODES), *((NODE, slot) for slot in MORE_SLOTS)]
    names = {(node_id, slot): f"wt{os.getpid() % 1_000_000}n{node_id}e{slot}" for node_id, slot in ports}
    with contextlib.ExitStack() as undo:
        for name in names.values():
            subprocess.run(["ip", "tuntap", "add", name, "mode", "tap", "vnet_hdr"], check=True)
            undo.callback(subprocess.run, ["ip", "tuntap", "del", name, "mode", "tap"], check=True)
        made = Peers(uri, names)
        undo.enter_context(serving(uri, made.nodes, made.netemu, made.bootserver, made.console))
        yield made


class FileServer:
    """Boot files over HTTP. fetched: paths of the GET requests so far."""

    def __init__(self) -> None:
        self.files = {"/script": SCRIPT.encode(), "/vmlinuz": b"kernel" * 1000, "/initrd": b"initrd" * 1000}
        self.fetched: list[str] = []
        listener = eventlet.listen(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._thread = eventlet.spawn(eventlet.wsgi.server, listener, self._serve, log_output=False)

    def stop(self) -> None:
        self._thread.kill()

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        content = self.files.get(environ["PATH_INFO"])
        if content is None:
            start_response("404 Not Found", [])
            return [b""]
        digest = hashlib.sha256(content).hexdigest()
        start_response("200 OK", [("ETag", f'"{digest}"'), ("Content-Length", str(len(content)))])
        if environ["REQUEST_METHOD"] != "GET":
            return []
        self.fetched.append(environ["PATH_INFO"])
        return [content]


class Process:
    """`python -m services.vmrunner`."""

    def __init__(self, uri: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.metrics_port = free_port()
        self._env = {
            **os.environ,
            "WALT_AMQP_URI": uri,
            "WALT_HOST": HOST,
            "WALT_STATE_DIR": str(folder / "state"),
            "WALT_RUN_DIR": str(folder / "run"),
            "WALT_METRICS_PORT": str(self.metrics_port),
            "WALT_QEMU": str(folder / "qemu"),
            "WALT_ACCEL": "tcg",
            "PYTHONWARNINGS": "ignore",
            "WALT_SOFT_END_S": "2",
            "WALT_BOOT_SLOTS": "16",
            **variables,
        }
        self.log = folder / "vmrunner.log"
        self.module = ["services.vmrunner"]
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", *self.module]
            self.child = subprocess.Popen(argv, cwd=ROOT, env=self._env, stdout=log, stderr=log)

    def set(self, name: str, value: str) -> None:
        """For the next start."""
        self._env[name] = value

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def metrics(self) -> str:
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.metrics_port))) as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return connection.makefile().read()

    def metric(self, name: str) -> float:
        (line,) = (line for line in self.metrics().splitlines() if line.startswith(f"{name} "))
        return float(line.split()[1])


class Platform:
    """What a test asks of nodes and bootserver, and sees of vmrunner."""

    def __init__(self, around: Peers, folder: Path, variables: Mapping[str, str]) -> None:
        self.host = variables.get("WALT_HOST", HOST)
        self.nodes, self.bootserver, self.console = around.nodes, around.bootserver, around.console
        self.folder = folder
        self.server = FileServer()
        self.bootserver.script_url = f"http://127.0.0.1:{self.server.port}/script"
        self.install_qemu()
        self.user = AmqpUser(around.uri)
        self._uri, self._variables = around.uri, variables
        self.process = self.new_process()

    def new_process(self) -> Process:
        return Process(self._uri, self.folder, self._variables)

    def call(self, method: str, **arguments: Any) -> Any:
        return self.user.call(f"{vmrunner.service_on(self.host)}.{method}", **arguments)

    def reports(self) -> list[VmReport]:
        """[] while it has not reconciled yet."""
        try:
            return serialization.load_all(VmReport, self.call("list_vms"))
        except Failed:
            return []

    def wait_until_it_answers(self) -> None:
        def answers() -> bool:
            with contextlib.suppress(TimeoutError):
                name = f"{vmrunner.service_on(self.host)}.list_vms"
                return self.user.reply(name, user_id=self.user.name, wait_s=1)["error"] is None
            return False

        self.wait(answers, "vmrunner answers")

    def restart(self) -> None:
        self.process.kill()
        self.process.start()
        self.wait_until_it_answers()

    def put(self, node_id: int = NODE, **changes: Any) -> NodeWanted:
        """nodes stores a changed spec and announces it."""
        old = self.nodes.specs.get(node_id, specs.spec(id=node_id, name=f"vnode{node_id - 4}", host=HOST, version=0))
        new = replace(old, version=old.version + 1, **changes)
        self.nodes.put(new)
        return new

    def announce(self, spec: NodeWanted) -> None:
        """As it is, whether it is the newest or not."""
        self.nodes.announce(
            nodes.NODE_WANTED, replace(spec, registry=self.nodes.registry, revision=self.nodes.revision)
        )

    def announce_booted(self, report: VmReport) -> None:
        event = NodeBooted(report.node_id, report.run, report.since + 10.4)
        self.nodes.announce(bootserver.NODE_BOOTED, event, by=bootserver.SERVICE)

    def boot(self, node_id: int = NODE, **changes: Any) -> VmReport:
        self.put(node_id, **changes)
        self.announce_booted(self.wait_state("booting", node_id))
        return self.wait_state("booted", node_id)

    def settle(self) -> None:
        """Returns when all that was announced before has had its effect: a spec that came later has had its own."""
        marker = next(_markers)
        self.put(marker, power="absent")
        self.wait(lambda: marker in self.nodes.removed, "the marker is removed")
        self.nodes.removed.remove(marker)
        del self.nodes.specs[marker]

    def states(self, node_id: int = NODE) -> list[str]:
        return self.nodes.reported_states(node_id)

    def last(self, node_id: int = NODE) -> VmReport:
        found = self.nodes.last_report(node_id)
        assert found is not None, f"no report of node {node_id}"
        return found

    def reasons(self, state: str, node_id: int = NODE) -> list[str]:
        return [one.reason for one in self.nodes.reports if (one.node_id, one.state) == (node_id, state)]

    def wait_state(self, state: str, node_id: int = NODE, boot: int | None = None) -> VmReport:
        def there() -> bool:
            last = self.nodes.last_report(node_id)
            return last is not None and last.state == state and boot in (None, last.boot)

        self.wait(there, f"state {state}")
        return self.last(node_id)

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        wait_until(condition, LIMIT_S, lambda: f"{what}: {self.nodes.reports[-4:]}", pause_s=0.02)

    def shown(self, node_id: int = NODE) -> str:
        """On the line."""
        return (self.folder / f"{node_id}.log").read_bytes().decode()

    def argv(self, node_id: int = NODE) -> list[str]:
        found: list[str] = json.loads((self.folder / f"run/vmrunner/{node_id}/argv.json").read_text())
        return found

    @property
    def state_folder(self) -> Path:
        return self.folder / "state/vmrunner"

    def install_qemu(self) -> None:
        path = self.folder / "qemu"
        python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable  # which the VMs' users may run
        path.write_text(f"#!{python}\n" + (Path(__file__).parent / "fake_qemu.py").read_text())
        path.chmod(0o755)

    def qemus(self) -> dict[int, int]:
        """{node id: pid} of those that run."""
        found = {}
        for file in (self.folder / "run/vmrunner").glob("*/pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(file.read_text())
                os.kill(pid, 0)
                found[int(file.parent.name)] = pid
        return found

    def monitor_commands(self, node_id: int) -> list[str]:
        return (self.folder / f"run/vmrunner/{node_id}/monitor.log").read_text().split()

    def signal(self, number: int, node_id: int = NODE) -> None:
        """SIGUSR1: its guest reboots, SIGUSR2: powers off (fake_qemu.py)."""
        os.kill(self.qemus()[node_id], number)

    def end(self) -> None:
        self.process.kill()
        self._drain()
        for pid in self.qemus().values():
            os.kill(pid, signal.SIGKILL)
        self.server.stop()
        self.user.close()
        print(self.process.log.read_text())  # shown by pytest when the test fails

    def _drain(self) -> None:
        """What the killed process has announced belongs to no later test: events of one kind come in order."""
        last = VmReport(0, "last", HOST, 0, 0, 0, "stopped", 0.0, "")
        self.nodes.announce(vmrunner.VM_CHANGED, last, by=vmrunner.SERVICE)
        self.nodes.announce(vmrunner.VM_REMOVED, VmRemoved(0, "last", HOST), by=vmrunner.SERVICE)
        self.wait(lambda: self.nodes.last_report(0) and 0 in self.nodes.removed, "the last events")


@contextlib.contextmanager
def running(around: Peers, variables: Mapping[str, str]) -> Iterator[Platform]:
    """variables: of the environment of vmrunner."""
    folder = Path(tempfile.mkdtemp(prefix="walt-vmr-"))
    folder.chmod(0o711)  # the VMs' users run the fake qemu in it
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder)
        around.reset(folder)
        platform = Platform(around, folder, variables)
        undo.callback(platform.end)
        platform.wait_until_it_answers()
        yield platform
