"""vmrunner's process adapter with a real qemu: start, confinement, console line, endings, adoption, accelerator.

Needs root, qemu and a Linux kernel (WALT_TEST_KERNEL, or the one of Debian's linux-image-cloud package); no platform.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.contracts.errors import Failed
from services.vmrunner import qemu
from services.vmrunner.accelerator import Accelerator
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
    """What console does: listens, for qemu's user only, and keeps what comes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
        self.path, self.log = folder / "line.sock", folder / "line.log"
        self.seen = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        self._listener.bind(str(self.path))
        os.chown(self.path, UID, UID)
        self._listener.listen()
        self._device: socket.socket | None = None
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._device, _ = self._listener.accept()
                while data := self._device.recv(65536):
                    self.seen += data

    def type(self, data: bytes) -> None:
        assert self._device is not None
        self._device.sendall(data)

    def wait(self, text: bytes, limit_s: float = 30) -> None:
        end = time.monotonic() + limit_s
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} did not come: {self.seen[-1000:]!r}"
            time.sleep(0.02)

    def close(self) -> None:
        for one in (self._listener, self._device):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept() or recv()
                one.close()


@pytest.fixture
def line(folder: Path) -> Iterator[SerialLine]:
    serial = SerialLine(folder / "line")
    serial.log.unlink(missing_ok=True)
    yield serial
    serial.close()


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
            log = opened.enter_context(open(line.log, "ab")).fileno()
            os.fchmod(log, 0o600)

            def command(monitor: int) -> list[str]:
                return qemu.command(
                    BINARY,
                    node or wanted(interfaces=(), ram_bytes=96 * 2**20, cpu_cores=1),
                    Files(*files, log, monitor, {}),
                    **{
                        "command_line": COMMAND_LINE,
                        "line_socket": str(line.path),
                        "pid_file": str(processes.pid_file(NODE)),
                        "accelerator": qemu.TCG,
                        **changes,
                    },
                )

            return processes.start(NODE, command, [*files, log], "--clear-groups")

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
    assert line.log.read_bytes().count(b"READY") == 1 and oct(line.log.stat().st_mode)[-3:] == "600"


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


def test_console_that_comes_back_is_found_again(start, line, folder):
    start()
    line.wait(b"READY")
    line.close()
    again = SerialLine(folder / "line")
    try:
        end = time.monotonic() + 10
        while again._device is None and time.monotonic() < end:
            time.sleep(0.05)
        again.type(b"hello\n")
        again.wait(b"GOT hello")
        assert b"GOT hello" in line.log.read_bytes()
    finally:
        again.close()


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
