"""vmrunner as its own process, on a real RabbitMQ; its peers and qemu are fakes.

What is tested is what nodes would see: the reports, in order, and which machines run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import eventlet
import eventlet.wsgi
import pytest
from nameko.containers import ServiceContainer
from nameko.events import event_handler
from nameko.standalone.events import event_dispatcher

from services.contracts import bootserver, console, netemu, nodes, vmrunner, wire
from services.contracts.bootserver import BootPlan, NodeBooted, NodeCopying
from services.contracts.console import CommandEnd, Line
from services.contracts.errors import Failed, NotFound, Unreachable
from services.contracts.netemu import AttachedPort
from services.contracts.nodes import Disk
from services.contracts.vmrunner import Capacity, DiskData, VmReport
from services.kit import peers
from services.kit.entrypoints import internal
from tests.unit.vmrunner.sample import wanted

HOST = "lab"
NAME = vmrunner.service_on(HOST)
ROOT = Path(__file__).parents[2]
SCRIPT = "#!ipxe\ninitrd initrd\nkernel vmlinuz walt.mac=${mac}\nboot\n"


class World:
    """What the fake peers know, do and saw."""

    def __init__(self, folder: Path, taps: dict[int, str]) -> None:
        self.folder, self.taps = folder, taps
        self.wanted: dict[int, nodes.NodeWanted] = {}
        self.reports: list[VmReport] = []
        self.removed: list[int] = []
        self.requests: list[dict] = []
        self.fault: Exception | None = None
        self.registry = "r1"
        self.got: list[str] = []
        self.asked: list[list[str]] = []  # of guests
        self.obeys: Callable[[list[str]], int] = lambda command: 0
        self.files = {"/script": SCRIPT.encode(), "/vmlinuz": b"kernel" * 1000, "/initrd": b"initrd" * 1000}

    def states(self, node_id: int) -> list[str]:
        return [report.state for report in self.reports if report.node_id == node_id]

    def last(self, node_id: int) -> VmReport | None:
        return next((report for report in reversed(self.reports) if report.node_id == node_id), None)


world: World


class FakeNodes:
    name = nodes.SERVICE

    @internal
    def registry_id(self):
        return world.registry

    @internal
    def wanted_on_host(self, host):
        return wire.dump_all(world.wanted.values())

    @event_handler(NAME, vmrunner.VM_CHANGED)
    def on_vm_changed(self, payload):
        world.reports.append(wire.load(VmReport, payload))

    @event_handler(NAME, vmrunner.VM_REMOVED)
    def on_vm_removed(self, payload):
        world.removed.append(payload["node_id"])


class FakeNetemu:
    name = netemu.service_on(HOST)

    @internal
    def attach_ports(self, node_id, name, owner, interfaces, ip, version):
        return wire.dump_all(AttachedPort(one["slot"], world.taps[node_id]) for one in interfaces)


class FakeBootserver:
    name = bootserver.SERVICE

    @internal
    def publish_boot(self, request):
        world.requests.append(request)
        if world.fault:
            raise world.fault
        port = world.http_port
        plan = BootPlan(f"http://127.0.0.1:{port}/script", request["ip"], "255.255.252.0", "127.0.0.1", "127.0.0.1")
        return wire.dump(plan)


class FakeConsole:
    name = console.service_on(HOST)

    @internal
    def prepare_line(self, node_id, name, owner):
        place = Line(*(str(world.folder / f"{node_id}.{end}") for end in ("sock", "log", "in")))
        with contextlib.suppress(FileExistsError):
            os.mkfifo(place.input)
        return wire.dump(place)

    @internal
    def run_command(self, node_id, command, timeout_s):
        world.asked.append(command)
        return wire.dump(CommandEnd(world.obeys(command), "said"))


def serve_files(environ, start_response):
    content = world.files.get(environ["PATH_INFO"])
    if content is None:
        start_response("404 Not Found", [])
        return [b""]
    if environ["REQUEST_METHOD"] == "GET":
        world.got.append(environ["PATH_INFO"])
    etag = hashlib.sha256(content).hexdigest()
    start_response("200 OK", [("ETag", f'"{etag}"'), ("Content-Length", str(len(content)))])
    return [content] if environ["REQUEST_METHOD"] == "GET" else []


def wait_for(condition, what, limit_s=60):
    with eventlet.Timeout(limit_s, AssertionError(f"not within {limit_s} s: {what}: {world.reports[-4:]}")):
        while not condition():
            eventlet.sleep(0.02)


def wait_state(state, node_id=5, boot=None):
    def there():
        last = world.last(node_id)
        return last and last.state == state and boot in (None, last.boot)

    wait_for(there, f"state {state}")
    return world.last(node_id)


class Process:
    """`python -m services.vmrunner`."""

    def __init__(self, amqp_uri: str, folder: Path, **variables: str) -> None:
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.metrics_port = probe.getsockname()[1]
        self._env = {
            **os.environ,
            "WALT_AMQP_URI": amqp_uri,
            "WALT_HOST": HOST,
            "WALT_STATE_DIR": str(folder / "state"),
            "WALT_RUN_DIR": str(folder / "run"),
            "WALT_METRICS_PORT": str(self.metrics_port),
            "WALT_QEMU": str(folder / "qemu"),
            "WALT_ACCEL": "tcg",
            "WALT_VM_UID": "0",
            "PYTHONWARNINGS": "ignore",
            "WALT_SOFT_END_S": "2",
            **variables,
        }
        self.log = folder / "vmrunner.log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "services.vmrunner"]
            self.child = subprocess.Popen(argv, cwd=ROOT, env=self._env, stdout=log, stderr=log)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def metrics(self) -> str:
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.metrics_port))) as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return connection.makefile().read()


def metric(process: Process, name: str) -> float:
    (line,) = (line for line in process.metrics().splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


@pytest.fixture(scope="module")
def taps(as_root):
    """{node id: a tap connected to nothing, for its qemu to hold}."""
    names = {node_id: f"wt{os.getpid() % 1_000_000}n{node_id}" for node_id in range(5, 10)}
    with contextlib.ExitStack() as undo:
        for name in names.values():
            subprocess.run(["ip", "tuntap", "add", name, "mode", "tap", "vnet_hdr"], check=True)
            undo.callback(subprocess.run, ["ip", "tuntap", "del", name, "mode", "tap"], check=True)
        yield names


@pytest.fixture(scope="module")
def fakes(amqp_uri):
    """For all tests, since each takes 2 s to stop; what they know and saw is in the `world` of the test."""
    with contextlib.ExitStack() as undo:
        for fake in (FakeNodes, FakeNetemu, FakeBootserver, FakeConsole):
            container = ServiceContainer(fake, {"AMQP_URI": amqp_uri})
            container.start()
            undo.callback(container.stop)
        yield


@pytest.fixture
def variables():
    return {}


@pytest.fixture
def platform(amqp_uri, fakes, taps, variables):
    global world
    with contextlib.ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="walt-vmr-"))
        undo.callback(shutil.rmtree, folder)
        world = World(folder, taps)
        install_qemu()
        listener = eventlet.listen(("127.0.0.1", 0))
        world.http_port = listener.getsockname()[1]
        undo.callback(eventlet.spawn(eventlet.wsgi.server, listener, serve_files, log_output=False).kill)
        undo.callback(kill_qemus)
        undo.callback(hear_the_last, amqp_uri)
        process = Process(amqp_uri, folder, **variables)
        undo.callback(lambda: print(process.log.read_text()))  # shown by pytest when the test fails
        undo.callback(process.kill)
        wait_for(answers, "vmrunner answers")
        yield process


def hear_the_last(uri):
    """What the killed process had announced belongs to no later test: events of one kind come in order."""
    tell_event = event_dispatcher({"AMQP_URI": uri})
    tell_event(NAME, vmrunner.VM_CHANGED, wire.dump(VmReport(0, "last", HOST, 0, 0, 0, "stopped", 0.0, "")))
    tell_event(NAME, vmrunner.VM_REMOVED, {"node_id": 0})
    wait_for(lambda: world.last(0) and 0 in world.removed, "the last events")


def answers():
    with contextlib.suppress(Unreachable):
        return peers.call(NAME, "list_vms") is not None


def kill_qemus():
    for pid in qemus().values():
        os.kill(pid, signal.SIGKILL)


def install_qemu():
    path = world.folder / "qemu"
    path.write_text(f"#!{sys.executable}\n" + (Path(__file__).parent / "fake_qemu.py").read_text())
    path.chmod(0o755)


def qemus() -> dict[int, int]:
    """{node id: pid} of the fakes that run."""
    found = {}
    for file in (world.folder / "run/vmrunner").glob("*/pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(file.read_text())
            os.kill(pid, 0)
            found[int(file.parent.name)] = pid
    return found


def wish(uri, **changes):
    """nodes changes its mind: stores the new wish and tells of it."""
    old = world.wanted.get(changes.get("id", 5), wanted(host=HOST, version=0))
    new = replace(old, version=old.version + 1, **changes)
    world.wanted[new.id] = new
    tell(uri, new)
    return new


def tell(uri, one):
    event_dispatcher({"AMQP_URI": uri})(nodes.SERVICE, nodes.NODE_WANTED, wire.dump(one))


def tell_booted(uri, report):
    news = NodeBooted(report.node_id, report.run, report.since + 10.4)
    event_dispatcher({"AMQP_URI": uri})(bootserver.SERVICE, bootserver.NODE_BOOTED, wire.dump(news))


def boot(uri, **changes):
    wish(uri, **changes)
    node_id = changes.get("id", 5)
    tell_booted(uri, wait_state("booting", node_id))
    return wait_state("booted", node_id)


def test_from_wish_to_booted(platform, amqp_uri):
    report = boot(amqp_uri)
    assert world.states(5) == ["delaying", "loading", "booting", "booted"]
    assert report.reason.startswith("ssh answers after 10.4 s") and (report.run, report.boot) == (1, 1)
    sequences = [one.sequence for one in world.reports]
    assert sequences == sorted(set(sequences))
    argv = json.loads((world.folder / "run/vmrunner/5/argv.json").read_text())
    assert "walt.mac=52:54:00:00:00:01" in argv
    shown = (world.folder / "5.log").read_bytes().decode()
    assert f"walt-boot: http://127.0.0.1:{world.http_port}/vmlinuz ... ok 0.0 MB\r\n" in shown
    for word in (b"root\n", b"reboot\n"):  # each closes the FIFO: that is not the end of its input
        with (world.folder / "5.in").open("wb", buffering=0) as line:
            line.write(word)
        wait_for(lambda word=word: (world.folder / "5.log").read_bytes().endswith(b"got " + word), "input and output")
    (listed,) = peers.call(NAME, "list_vms")
    assert wire.load(VmReport, listed) == report
    text = platform.metrics()
    assert 'walt_vms{state="booted"} 1.0' in text and 'walt_vm_boots_total{node="vnode1",outcome="booted"} 1.0' in text
    assert 'walt_vm_memory_bytes{node="vnode1"}' in text


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGUSR1, "the guest rebooted"),
        (signal.SIGKILL, "qemu crashed"),
    ],
)
def test_its_end_leads_to_a_fresh_boot(platform, amqp_uri, number, reason):
    boot(amqp_uri)
    wanted_now = wish(amqp_uri, cpu_cores=7)  # taken up at the next boot only
    eventlet.sleep(0.3)
    assert world.last(5).state == "booted"
    os.kill(qemus()[5], number)
    wait_for(lambda: world.states(5)[4:7] == ["delaying", "loading", "booting"], "a fresh boot")
    assert [one.reason for one in world.reports if one.state == "delaying"][-1] == reason
    assert world.last(5).run == 2
    argv = json.loads((world.folder / "run/vmrunner/5/argv.json").read_text())
    assert argv[argv.index("-smp") + 1] == str(wanted_now.cpu_cores)


def test_fault_02_a_guest_that_powers_off_stays_off_until_it_is_started(platform, amqp_uri):
    boot(amqp_uri)
    os.kill(qemus()[5], signal.SIGUSR2)
    assert wait_state("stopped").reason == "the guest powered off"
    wish(amqp_uri, ram_bytes=2**30)  # a change of settings starts nothing
    platform.kill()
    platform.start()  # nor does vmrunner's own start
    wait_for(answers, "vmrunner answers")
    eventlet.sleep(0.5)
    assert world.last(5).state == "stopped" and qemus() == {}
    wish(amqp_uri, boot=2)
    assert wait_state("booting", boot=2).run == 2


def test_fault_25_a_guest_that_reboots_for_ever_before_it_is_booted_fails(platform, amqp_uri):
    wish(amqp_uri, boot_retries=2)
    for run in (1, 2, 3):
        wait_for(lambda run=run: world.states(5).count("booting") == run, f"run {run}")
        os.kill(qemus()[5], signal.SIGUSR1)
    assert wait_state("failed").reason == "the guest rebooted before it was booted, 2 retries spent; left as it is"
    causes = [one.reason for one in world.reports if one.state == "delaying"]
    assert causes[1:] == [f"the guest rebooted before it was booted; retry {n} of 2" for n in (1, 2)]
    assert 'walt_vm_boots_total{node="vnode1",outcome="ended"} 3.0' in platform.metrics()
    wish(amqp_uri, boot=2)
    wait_state("booting", boot=2)


DISKS = (Disk(21, 10**6, "none"), Disk(22, 16 * 10**6, "ext4"))


def disk_files():
    return sorted(path.name for path in (world.folder / "state/vmrunner/5/disks").glob("*.raw"))


def power_off(command):
    """The guest obeys a moment later."""
    eventlet.spawn_after(0.2, os.kill, qemus()[5], signal.SIGUSR2)
    return 0


def disk_data():
    return wire.load_all(DiskData, peers.call(NAME, "list_data", node_id=5))


def test_disks_are_made_kept_and_deleted(platform, amqp_uri):
    assert disk_data() == []
    boot(amqp_uri, disks=DISKS)
    argv = json.loads((world.folder / "run/vmrunner/5/argv.json").read_text())
    serials = [word for word in argv if word.startswith("virtio-blk")]
    assert ["walt-21" in serials[0], "walt-22" in serials[1]] == [True, True]
    assert "walt-boot: disk vdb: 16M, template ext4\r\n" in (world.folder / "5.log").read_bytes().decode()
    assert [(one.disk_id, one.written) for one in disk_data()] == [(21, False), (22, False)]
    with (world.folder / "state/vmrunner/5/disks/21.raw").open("r+b") as disk:
        disk.write(b"x" * 4096)
    assert [one.written for one in disk_data()] == [True, False]
    assert 'walt_vm_disk_bytes{node="vnode1"}' in platform.metrics()
    wish(amqp_uri, disks=(Disk(23, 10**6, "none"), DISKS[0]))
    eventlet.sleep(0.3)
    assert disk_files() == ["21.raw", "22.raw"]  # not while its qemu runs
    wish(amqp_uri, boot=2)
    wait_state("booting", boot=2)
    assert disk_files() == ["21.raw", "23.raw"]
    assert [one.written for one in disk_data()] == [True, False]
    wish(amqp_uri, power="off", disks=DISKS[:1], boot=3)
    wait_state("stopped")
    wait_for(lambda: disk_files() == ["21.raw"], "deleted at its end")
    wish(amqp_uri, disks=())
    wait_for(lambda: disk_files() == [], "deleted while it is off")
    wish(amqp_uri, power="absent")
    wait_for(lambda: world.removed == [5], "removed")
    assert not (world.folder / "state/vmrunner/5").exists()


def test_fault_10_a_disk_that_cannot_be_made_is_the_reason(platform, amqp_uri):
    (world.folder / "state/vmrunner/5").mkdir()
    (world.folder / "state/vmrunner/5/disks").write_text("a file is in the way")
    wish(amqp_uri, disks=DISKS)
    assert "disks" in wait_state("failed").reason
    wish(amqp_uri, power="absent")
    wait_for(lambda: world.removed == [5], "removed all the same")


@pytest.mark.parametrize(
    ("disks", "hard", "asked"), [((), False, ["sync"]), ((), True, []), (DISKS, False, ["poweroff"]), (DISKS, True, [])]
)
def test_a_guest_is_asked_before_its_end(platform, amqp_uri, disks, hard, asked):
    world.obeys = lambda command: power_off(command) if command == ["poweroff"] else 0
    boot(amqp_uri, disks=disks)
    pid = qemus()[5]
    wish(amqp_uri, boot=2, hard=hard)
    assert wait_state("booting", boot=2).run == 2 and qemus()[5] != pid
    assert [one.reason for one in world.reports if one.state == "delaying"][1] == "reboot asked"
    assert "stopped" not in world.states(5)
    assert world.asked == [[word] for word in asked]
    said = "walt-boot: asking the guest to shut down" in (world.folder / "5.log").read_bytes().decode()
    assert said == (asked == ["poweroff"])


@pytest.mark.parametrize("how", ["deaf", "refuses", "away"])
def test_fault_30_a_guest_that_does_not_end_is_ended(platform, amqp_uri, how):
    def refuse(command):
        raise Failed("192.168.172.2 cannot be reached by ssh: no route")

    world.obeys = {"deaf": lambda command: 0, "refuses": lambda command: 127, "away": refuse}[how]
    boot(amqp_uri, disks=DISKS)
    wish(amqp_uri, power="off", boot=2)
    assert wait_state("stopped").reason == "powered off as asked"
    shown = (world.folder / "5.log").read_bytes().decode()
    words = {"deaf": "asking", "refuses": "the guest cannot be asked to poweroff: status 127: said", "away": "no route"}
    assert words[how] in shown and world.asked == [["poweroff"]]


@pytest.mark.parametrize("variables", [{"WALT_SOFT_END_S": "100"}])
def test_a_guest_that_ends_while_the_request_hangs_is_not_waited_for(platform, amqp_uri):
    seen = eventlet.Event()

    def hang(command):
        power_off(command)
        return seen.wait(60)

    world.obeys = hang
    boot(amqp_uri, disks=DISKS)
    wish(amqp_uri, power="off", boot=2)
    wait_for(lambda: world.asked, "the guest was asked")
    wait_state("stopped")
    seen.send(0)


@pytest.mark.parametrize("variables", [{"WALT_SOFT_END_S": "100"}])
def test_while_it_waits_for_the_guest_a_harder_wish_is_heard(platform, amqp_uri):
    boot(amqp_uri, disks=DISKS)
    wish(amqp_uri, boot=2)
    wait_for(lambda: world.asked, "the guest was asked")
    eventlet.sleep(0.3)
    assert world.last(5).state == "booted"
    wish(amqp_uri, boot=3, hard=True)
    wait_state("booting", boot=3)


@pytest.mark.parametrize("variables", [{"WALT_MEMORY_FACTOR": "0.02"}])
def test_a_boot_waits_for_memory_until_another_machine_has_ended(platform, amqp_uri):
    capacity = wire.load(Capacity, peers.call(NAME, "capacity"))
    assert capacity.memory_factor == 0.02 and capacity.cpu_cores == os.cpu_count()
    ram_bytes = int(0.012 * capacity.ram_bytes)
    boot(amqp_uri, ram_bytes=ram_bytes, boot_timeout_s=None)
    wish(amqp_uri, id=6, name="vnode2", ram_bytes=ram_bytes)
    wait_for(lambda: world.last(6) and "memory" in world.last(6).reason, "it waits")
    waits = world.last(6)
    assert waits.state == "delaying" and waits.reason.startswith("waits for memory: host lab has promised ")
    assert metric(platform, "walt_host_promised_memory_bytes") == ram_bytes
    eventlet.sleep(2.5)
    assert world.last(6) == waits  # said once
    platform.kill()
    platform.start()  # what runs is counted again
    wait_for(answers, "vmrunner answers")
    eventlet.sleep(2.5)
    assert world.last(6).state == "delaying" and 6 not in qemus()
    wish(amqp_uri, power="off", boot=2)
    wait_state("booting", 6)
    assert "waits for memory" in (world.folder / "6.log").read_text()


@pytest.mark.parametrize("variables", [{"WALT_MEMORY_FACTOR": "0.02"}])
def test_fault_13_a_node_that_no_host_could_hold_fails_with_a_sentence(platform, amqp_uri):
    wish(amqp_uri, ram_bytes=2**50)
    assert "host lab has " in wait_state("failed").reason


def test_reboot_and_doubled_and_late_wishes(platform, amqp_uri):
    boot(amqp_uri)
    first, pid = world.wanted[5], qemus()[5]
    second = wish(amqp_uri, boot=2)
    assert wait_state("booting", boot=2).run == 2
    for one in (second, first, second):
        tell(amqp_uri, one)
    tell_booted(amqp_uri, replace(world.last(5), run=1))  # late news of the former run
    eventlet.sleep(0.5)
    assert (world.last(5).state, world.last(5).run) == ("booting", 2)
    assert qemus()[5] != pid


def test_off_on_and_absent(platform, amqp_uri):
    boot(amqp_uri)
    wish(amqp_uri, power="off", boot=2)
    assert wait_state("stopped").boot == 2 and qemus() == {}
    wish(amqp_uri, power="on", boot=3)
    wait_state("booting", boot=3)
    gone = wish(amqp_uri, power="absent")
    wait_for(lambda: world.removed == [5], "removed")
    assert qemus() == {} and not (world.folder / "state/vmrunner/5").exists()
    tell(amqp_uri, replace(gone, power="on", version=gone.version - 1))  # late
    tell(amqp_uri, wanted(id=6, host=HOST, power="absent"))  # never was here
    wait_for(lambda: 6 in world.removed, "removal of nothing is told too")
    assert qemus() == {} and peers.call(NAME, "list_vms") == []


def test_fault_23_a_fixed_delay_counts_down_on_the_line(platform, amqp_uri):
    wish(amqp_uri, boot_delay_s=2)
    assert wait_state("delaying").reason == "powered on; boots in 2 s"
    wait_state("booting")
    shown = (world.folder / "5.log").read_text()
    assert "booting in 2 s" in shown and "booting in 1 s" in shown.split("booting in 2 s")[1]


def test_a_random_delay_is_drawn_for_each_boot(platform, amqp_uri):
    def drawn(number):
        wish(amqp_uri, boot=number, boot_delay_s=None)
        return int(re.fullmatch(r".*; boots in (\d+) s", wait_state("delaying", boot=number).reason)[1])

    delays = [drawn(number) for number in range(1, 21)]
    assert 1 <= min(delays) < max(delays) <= 10


def test_boot_that_hangs_is_tried_again(platform, amqp_uri):
    wish(amqp_uri, boot_timeout_s=1, boot_retries=1)
    wait_state("booting")
    hung = qemus()[5]
    os.kill(hung, signal.SIGSTOP)
    wait_for(lambda: world.states(5).count("booting") == 2, "the next try boots")
    assert [one.reason for one in world.reports if one.state == "delaying"][1] == "no boot within 1 s; retry 1 of 1"
    assert qemus()[5] != hung
    assert wait_state("failed").reason == "no boot within 1 s, 1 retries spent; left as it is"


def test_a_copy_of_the_image_to_a_disk_is_told(platform, amqp_uri):
    wish(amqp_uri)
    run = wait_state("booting").run
    news = wire.dump(NodeCopying(5, run))
    event_dispatcher({"AMQP_URI": amqp_uri})(bootserver.SERVICE, bootserver.NODE_COPYING, news)
    wait_for(lambda: "copies the image to its disk" in world.last(5).reason, "it is told")
    tell_booted(amqp_uri, world.last(5))
    wait_state("booted")


@pytest.mark.parametrize(
    "fault",
    [NotFound("there is no image 'default'"), Failed("the NFS server does not answer"), Unreachable("bootserver")],
)
def test_faults_of_peers_are_the_reason_and_mend_themselves(platform, amqp_uri, fault):
    world.fault = fault
    wish(amqp_uri)
    assert wait_state("failed").reason == f"{fault}; next try in 2 s"
    wait_for(lambda: world.last(5).reason.endswith("next try in 4 s"), "the next try")
    world.fault = None
    wish(amqp_uri, boot=2)  # at once
    wait_state("booting", boot=2)
    assert str(fault) in (world.folder / "5.log").read_text()


def test_qemu_missing_then_refusing_then_mended_by_itself(platform, amqp_uri):
    (world.folder / "qemu").unlink()
    wish(amqp_uri, name="refused")
    assert "is not installed on this host" in wait_state("failed").reason
    install_qemu()
    wait_for(lambda: "this machine is refused" in world.last(5).reason, "qemu's own words")
    wish(amqp_uri, name="accepted", boot=2)
    wait_state("booting")


def test_fault_01_killed_and_started_again_it_finds_everything(platform, amqp_uri):
    before = boot(amqp_uri)
    boot(amqp_uri, id=6, name="vnode2")
    boot(amqp_uri, id=7, name="vnode3")
    wish(amqp_uri, id=8, name="vnode4")
    waiting = wait_state("booting", 8)
    pids = qemus()
    platform.kill()
    os.kill(pids[6], signal.SIGKILL)  # ends unseen
    del world.wanted[7]  # nobody's when it comes back
    wish(amqp_uri, id=9, name="vnode5")  # new meanwhile
    tell_booted(amqp_uri, waiting)
    for _ in range(3):  # heard at its start, together with the answer of nodes: one machine all the same
        tell(amqp_uri, world.wanted[5])
    platform.start()
    wait_state("booting", 9)
    wait_state("booted", 8)
    wait_for(lambda: 7 not in qemus(), "the machine that is nobody's ends")
    assert world.last(5) == before and qemus()[5] == pids[5]
    reports = [one for one in world.reports if one.node_id == 6]
    assert reports[4].reason == "its qemu ended while nobody watched" and reports[4].sequence > reports[3].sequence
    wait_for(lambda: world.last(6).state == "booting" and world.last(6).run == 2, "booted again")
    wish(amqp_uri, boot=2)
    assert wait_state("booting", boot=2).run == 2
    eventlet.sleep(0.3)
    assert world.states(5)[4:] == ["delaying", "loading", "booting"]


def test_another_registry_removes_and_takes_over_nothing(platform, amqp_uri):
    """The database of nodes was lost: its ids begin anew, and it knows none of the machines."""
    before = boot(amqp_uri, disks=DISKS)
    running, files, old = qemus(), disk_files(), dict(world.wanted)
    world.registry = "r2"
    wish(amqp_uri, owner="bob", boot=9, disks=DISKS[:1])
    wait_for(lambda: "vnode1 is let be: " in platform.log.read_text(), "the wish is let be")
    world.wanted.clear()
    platform.kill()
    platform.start()
    wait_for(lambda: "has registry r2 now: all of it stays as it is" in platform.log.read_text(), "said")
    wish(amqp_uri, owner="bob", boot=9, disks=DISKS[:1])
    wait_for(lambda: platform.log.read_text().count("vnode1 is let be: ") == 2, "the wish is let be again")
    assert (qemus(), disk_files(), world.last(5)) == (running, files, before)
    assert [one["status"] for one in peers.call(NAME, "diagnose") if one["subject"] == "registry"] == ["fail"]
    world.registry, world.wanted = "r1", old
    reports = lambda: wire.load_all(VmReport, peers.call(NAME, "list_vms"))  # noqa: E731
    wait_for(lambda: reports() == [before], "found again")
    assert (qemus(), disk_files()) == (running, files)


def test_fault_24_kernel_is_fetched_once_for_all(platform, amqp_uri):
    for node_id in range(5, 9):
        wish(amqp_uri, id=node_id, name=f"vnode{node_id}")
    for node_id in range(5, 9):
        wait_state("booting", node_id)
    assert sorted(world.got) == ["/initrd"] + ["/script"] * 4 + ["/vmlinuz"]
    world.files["/vmlinuz"] = b"newer" * 1000
    wish(amqp_uri, boot=2)
    wait_state("booting", boot=2)
    assert world.got.count("/vmlinuz") == 2 and len(list((world.folder / "state/vmrunner/cache").iterdir())) == 3


def test_diagnose(platform):
    wait_for(lambda: "walt_vms" in platform.metrics(), "it serves")
    subjects = {check["subject"] for check in peers.call(NAME, "diagnose")}
    assert {"accelerator", "qemu", "memory"} <= subjects
