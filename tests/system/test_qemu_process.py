"""vmrunner's process adapter with a real qemu: start, confinement, console line, endings, adoption, accelerator.

Needs root, qemu and a Linux kernel (WALT_TEST_KERNEL, or the one of Debian's linux-image-cloud package); no platform.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.contracts.console import Line
from services.contracts.errors import Failed
from services.vmrunner import qemu
from services.vmrunner.accelerator import Accelerator
from services.vmrunner.line import LineWriter
from services.vmrunner.processes import Processes, Vm
from services.vmrunner.qemu import Files
from tests.conftest import require
from tests.unit.vmrunner.sample import wanted

UID = 64901
NODE = 5
BINARY = "qemu-system-x86_64"
COMMAND_LINE = "console=ttyS0 quiet no_timer_check panic=-1"
PACKAGE = "linux-image-cloud-amd64"

INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox stty -echo
echo READY
while read -r line; do
    case "$line" in
        reboot) /bin/busybox reboot -f ;;
        poweroff) /bin/busybox poweroff -f ;;
        slots) echo "SLOTS" $(/bin/busybox ls /sys/bus/pci/devices) "END" ;;
        count) /bin/busybox seq 2000; echo COUNTED ;;
        *) echo "GOT $line" | /bin/busybox cat -v ;;
    esac
done
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short (a unix socket's path has 107 characters at most) and open to qemu's user."""
    require("qemu", os.geteuid() == 0 and shutil.which(BINARY) is not None, f"root and {BINARY}")
    path = Path(tempfile.mkdtemp(prefix="walt-qemu-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def kernel(folder: Path) -> Path:
    given = os.environ.get("WALT_TEST_KERNEL")
    if given:
        return Path(given)
    place = folder / "kernel"
    place.mkdir()
    with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError):
        depends = subprocess.run(["apt-cache", "depends", PACKAGE], capture_output=True, text=True, check=True)
        name = depends.stdout.split("Depends:")[1].split()[0]
        subprocess.run(["apt-get", "download", name], cwd=place, capture_output=True, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(place.glob("*.deb"))), "."], cwd=place, check=True)
    found = list(place.glob("boot/vmlinuz-*"))
    require("qemu", bool(found), f"no kernel: WALT_TEST_KERNEL is not set and {PACKAGE} cannot be downloaded")
    return found[0]


@pytest.fixture(scope="module")
def initrd(folder: Path) -> Path:
    busybox = shutil.which("busybox")
    require("qemu", busybox is not None, "busybox-static is not installed")
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(str(busybox), root / "bin/busybox")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    made = subprocess.run(["cpio", "-o", "-H", "newc"], input=names.encode(), cwd=root, capture_output=True, check=True)
    path = folder / "initrd"
    path.write_bytes(gzip.compress(made.stdout, 1))
    return path


class SerialLine:
    """What console does: makes the FIFO, opens it for each input, and reads the file."""

    def __init__(self, folder: Path) -> None:
        self.line = Line(str(folder / "line.sock"), str(folder / "line.log"), str(folder / "line.in"))
        os.mkfifo(self.line.input, 0o600)

    @property
    def seen(self) -> bytes:
        return Path(self.line.log).read_bytes()

    def type(self, data: bytes) -> None:
        fifo = os.open(self.line.input, os.O_WRONLY | os.O_NONBLOCK)  # fails where nobody reads
        os.write(fifo, data)
        os.close(fifo)

    def wait(self, text: bytes, limit_s: float = 30) -> None:
        end = time.monotonic() + limit_s
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} did not come: {self.seen[-1000:]!r}"
            time.sleep(0.02)


@pytest.fixture
def line(folder: Path) -> Iterator[SerialLine]:
    place = folder / "line"
    place.mkdir()
    yield SerialLine(place)
    shutil.rmtree(place)


@pytest.fixture
def processes(folder: Path) -> Iterator[Processes]:
    made = Processes(folder / "run", folder / "state", UID)
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run").chmod(0o711)
    yield made
    left = made.adopt(NODE)
    if left is not None:
        left.watch(lambda: None)
        left.end()
    made.forget(NODE)


@pytest.fixture
def start(processes: Processes, kernel: Path, initrd: Path, line: SerialLine) -> object:
    def start(node=None, **changes) -> Vm:  # type: ignore[no-untyped-def]
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(open(path, "rb")).fileno() for path in (kernel, initrd)]
            writer = LineWriter(line.line)  # there is no console: it writes to the log
            writer.write("power-on\n")
            ends = [writer.open_input(), writer.open_log()]
            opened.callback(lambda: [os.close(end) for end in ends])

            def command(monitor: int) -> list[str]:
                return qemu.command(
                    BINARY,
                    node or wanted(interfaces=(), ram_bytes=96 * 2**20, cpu_cores=1),
                    Files(*files, monitor, {}),
                    **{
                        "command_line": COMMAND_LINE,
                        "pid_file": str(processes.pid_file(NODE)),
                        "accelerator": qemu.TCG,
                        **changes,
                    },
                )

            stdin, stdout = ends
            return processes.start(NODE, command, stdin=stdin, stdout=stdout, files=files, groups="--clear-groups")

    return start


def test_confined_and_alone(start, processes, line):
    vm = start()
    status = dict(
        entry.split(":\t", 1) for entry in Path(f"/proc/{vm.pid}/status").read_text().splitlines() if ":\t" in entry
    )
    assert status["Uid"].split() == status["Gid"].split() == [str(UID)] * 4
    assert (status["CapEff"].strip("0"), status["NoNewPrivs"]) == ("", "1")
    assert status["Seccomp"] == "2"
    assert status["Groups"].strip() == ""
    assert os.getsid(vm.pid) != os.getsid(0) and int(status["PPid"]) != os.getpid()
    line.wait(b"READY")
    usage = vm.usage()
    assert usage is not None and usage.cpu_seconds > 0.1 and usage.memory_bytes > 2**24
    vm.watch(lambda: None)
    vm.end()
    assert vm.ended == "qemu was told to quit" and vm.usage() is None


def test_no_bytes_on_the_line_reach_a_monitor(start, line):
    vm = start()
    line.wait(b"READY")
    line.type(b"\x01c\x01x\x01h quit\n")
    line.wait(b"GOT ^Ac^Ax^Ah quit")
    assert b"(qemu)" not in line.seen and Path(f"/proc/{vm.pid}").exists()
    line.type(b"slots\n")
    line.wait(b" END")
    assert b"0000:00:1f.0" in line.seen  # the random number generator leaves the slots below to interfaces and disks
    assert line.seen.count(b"READY") == 1 and line.seen.startswith(b"power-on\r\n")
    assert oct(os.stat(line.line.log).st_mode)[-3:] == "600"


def test_its_output_is_whole_and_once_in_the_log(start, line):
    """Nobody need read what it says; and each input closes the FIFO, which must not be the end of its input."""
    burst = b"".join(b"%d\r\n" % number for number in range(1, 2001)) + b"COUNTED\r\n"
    start()
    line.wait(b"READY\r\n")
    for times in (1, 2):
        line.type(b"count\n")
        line.wait(burst * times)
    assert line.seen.partition(b"READY\r\n")[2] == burst * 2


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda vm, line: line.type(b"reboot\n"), "the guest rebooted"),
        (lambda vm, line: line.type(b"poweroff\n"), "the guest powered off"),
        (lambda vm, line: os.kill(vm.pid, signal.SIGKILL), "qemu crashed"),
        (lambda vm, line: os.kill(vm.pid, signal.SIGTERM), "qemu was ended by a signal"),
    ],
    ids=["reboot", "poweroff", "kill-9", "terminate"],
)
def test_its_end_is_noticed_and_explained(start, line, how, reason):
    vm, told = start(), threading.Event()
    vm.watch(told.set)
    line.wait(b"READY")
    assert not vm.ended
    how(vm, line)
    assert told.wait(10) and vm.ended == reason


def test_a_machine_whose_processor_hangs_is_ended_by_force(start, line):
    vm = start()
    vm.watch(lambda: None)
    line.wait(b"READY")
    os.kill(vm.pid, signal.SIGSTOP)
    began = time.monotonic()
    vm.end()
    assert vm.ended == "qemu crashed" and time.monotonic() - began < 12


def test_another_process_adopts_it(start, processes, folder, line):
    """The starter is killed: the machine runs on, its successor finds it, and learns how it ends."""
    starter = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {os.getcwd()!r})
        from services.vmrunner.processes import Processes
        from pathlib import Path
        vm = Processes(Path({str(folder / "run")!r}), Path({str(folder / "state")!r}), {UID}).adopt({NODE})
        print(vm.pid, flush=True)
        vm.watch(lambda: print(vm.ended, flush=True))
        sys.stdin.read()
    """)
    first = start()
    first._monitor.close()  # a monitor serves one client at a time
    line.wait(b"READY")
    other = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and int(other.stdout.readline()) == first.pid
    other.kill()
    other.communicate()
    assert Path(f"/proc/{first.pid}").exists()
    again = processes.adopt(NODE)
    assert again is not None and again.pid == first.pid
    told = threading.Event()
    again.watch(told.set)
    line.type(b"reboot\n")
    assert told.wait(10) and again.ended == "the guest rebooted"
    assert processes.adopt(NODE) is None


def test_a_pid_file_that_names_another_process_is_not_believed(start, processes, line):
    vm = start()
    vm.watch(lambda: None)
    pid_file = processes.pid_file(NODE)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        pid_file.write_text(str(stranger.pid))
        assert processes.adopt(NODE) is None
        processes.forget(NODE)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        vm.end()


def test_qemu_that_does_not_start_says_why(start, processes, monkeypatch):
    monkeypatch.setattr(qemu, "_machine", lambda accelerator: ["-accel", "nonsense"])
    with pytest.raises(Failed, match="qemu does not start: .*invalid accelerator nonsense"):
        start()
    assert processes.known() == set()


def test_accelerator_is_found_by_booting_and_remembered(kernel, folder):
    memory = folder / "accelerator.json"
    chooser = Accelerator("auto", BINARY, UID, memory)
    began = time.monotonic()
    choice = chooser.choose(kernel)
    assert time.monotonic() - began < 12
    assert choice.name in (qemu.KVM, qemu.TCG) and choice.why
    assert Accelerator("auto", BINARY, UID, memory).known() == choice
    if not Path("/dev/kvm").exists():
        assert choice.name == qemu.TCG
