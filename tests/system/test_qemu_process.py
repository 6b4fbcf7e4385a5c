"""vmrunner's launchers with a real qemu: start, confinement, console line, endings, adoption, accelerator.

Needs root, qemu and a Linux kernel (WALT_TEST_KERNEL, or the one of Debian's linux-image-cloud package); no platform.
What machines in containers need besides is a Docker Engine, which builds their image, unless WALT_VM_IMAGE names one.
"""

from __future__ import annotations

import contextlib
import gzip
import json
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
from dataclasses import replace
from pathlib import Path

import pytest

from services.bootserver.initrd import Index, resolve
from services.contracts.console import Line
from services.contracts.disks import EXT4, FAT32, MAX_DISKS, NO_TEMPLATE
from services.contracts.errors import Failed
from services.contracts.nodes import Disk, Interface, Network
from services.contracts.settings import MAX_NETWORKS
from services.netemu.taps import made_tap
from services.vmrunner import qemu
from services.vmrunner.accelerator import Accelerator
from services.vmrunner.containers import Containers
from services.vmrunner.disks import DiskStore
from services.vmrunner.engine import Engine
from services.vmrunner.line import LineWriter
from services.vmrunner.opening import Folders
from services.vmrunner.processes import Processes
from services.vmrunner.vm import Launcher, PowerOn, Vm
from tests.compose import engine
from tests.conftest import require
from tests.unit.vmrunner.sample import wanted

UID = 64901
NODE = 5
BINARY = "qemu-system-x86_64"
IMAGE = os.environ.get("WALT_VM_IMAGE", "walt-vm")
ROOT = Path(__file__).parents[2]
PROJECT = f"walt-test-{os.getpid()}"
SMALL = wanted(interfaces=(), ram_bytes=96 * 2**20, cpu_cores=1)
COMMAND_LINE = "console=ttyS0 quiet no_timer_check panic=-1"
PACKAGE = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "ext4", "vfat", "nls_cp437", "nls_ascii")

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
        modules) while read -r one; do /bin/busybox insmod "$one"; done < /modules
            /bin/busybox mount -t devtmpfs none /dev; echo LOADED ;;
        devices)
            for one in /sys/block/vd*; do echo "${one##*/} $(/bin/busybox cat $one/size $one/serial)" ; done
            for one in /sys/class/net/eth*; do echo "$(/bin/busybox readlink -f $one/device) $(/bin/busybox cat $one/address)"; done
            echo "slots" $(/bin/busybox ls /sys/bus/pci/slots); echo LISTED ;;
        sh*) eval "${line#sh }"; echo DONE ;;
        *) echo "GOT $line" | /bin/busybox cat -v ;;
    esac
done
"""


@pytest.fixture(scope="module")
def folder(as_root: None) -> Iterator[Path]:
    """Short (a unix socket's path has 107 characters at most) and open to qemu's user."""
    require("qemu", shutil.which(BINARY) is not None, f"{BINARY} is not installed")
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
def initrd(folder: Path, kernel: Path) -> Path:
    busybox = shutil.which("busybox")
    require("qemu", busybox is not None, "busybox-static is not installed")
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(str(busybox), root / "bin/busybox")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    add_modules(root, kernel)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    made = subprocess.run(["cpio", "-o", "-H", "newc"], input=names.encode(), cwd=root, capture_output=True, check=True)
    path = folder / "initrd"
    path.write_bytes(gzip.compress(made.stdout, 1))
    return path


def add_modules(root: Path, kernel: Path) -> None:
    """Those for disks and interfaces, from beside the kernel; /modules lists them in the order of loading."""
    version = kernel.name.removeprefix("vmlinuz-")
    home = kernel.parents[1] / "lib/modules" / version
    if not home.exists():
        return
    if not (home / "modules.dep").exists():
        subprocess.run(["depmod", "-b", str(kernel.parents[1]), version], check=True)
    found = resolve(MODULES, Index((home / "modules.dep").read_text(), (home / "modules.builtin").read_text()))
    for name in found.files:
        shutil.copy(home / name, root / Path(name).name)
    needs = {path: needed.split() for path, _, needed in (one.partition(":") for one in found.lines)}
    in_order = dict.fromkeys(one for path in found.files for one in (*reversed(needs[path]), path))
    (root / "modules").write_text("".join(f"/{Path(name).name}\n" for name in in_order))


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

    def wait(self, text: bytes, limit_s: float = 30, times: int = 1) -> None:
        end = time.monotonic() + limit_s
        while self.seen.count(text) < times:
            assert time.monotonic() < end, f"{text!r} did not come: {self.seen[-1000:]!r}"
            time.sleep(0.02)


@pytest.fixture
def line(folder: Path) -> Iterator[SerialLine]:
    place = folder / "line"
    place.mkdir()
    made = SerialLine(place)
    yield made
    print(made.seen.decode(errors="replace"))  # shown by pytest when the test fails
    shutil.rmtree(place)


def launcher_of(kind: str, folder: Path, world: str, project: str = PROJECT) -> Launcher:
    folders = Folders(folder / "run", folder / "state")
    if kind == "process":
        return Processes(BINARY, folders, UID)
    return Containers(BINARY, folders, Engine(IMAGE, UID, project, world))


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def new_world() -> Iterator[str]:
    """The container whose namespaces the machines join; it has the network of this host, as we have."""
    made = docker("run", "--detach", "--rm", "--network=host", "--entrypoint=sleep", IMAGE, "infinity")
    try:
        yield f"container:{made}"
    finally:
        subprocess.run(["docker", "rm", "--force", made], capture_output=True)


@pytest.fixture(scope="module")
def world() -> Iterator[str]:
    variables, why = engine.find()
    require("docker", not why, why)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        if "WALT_VM_IMAGE" not in os.environ:
            docker("build", "--quiet", "--target=vm", f"--tag={IMAGE}", f"--file={ROOT}/deploy/Dockerfile", str(ROOT))
        with new_world() as made:
            yield made


@pytest.fixture(params=["process", "container"])
def kind(request) -> str:
    if request.param == "container":
        request.getfixturevalue("world")
    return request.param


@pytest.fixture
def launcher(folder: Path, kind: str, request) -> Iterator[Launcher]:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run").chmod(0o711)
    made = launcher_of(kind, folder, request.getfixturevalue("world") if kind == "container" else "")
    yield made
    left = made.adopt(NODE)
    if left is not None:
        left.watch(lambda: None)
        left.end()
    made.forget(NODE)


@pytest.fixture
def start(launcher: Launcher, kernel: Path, initrd: Path, line: SerialLine) -> object:
    def start(node=None, taps=(), disks=(), by=launcher) -> Vm:  # type: ignore[no-untyped-def]
        LineWriter(line.line).write("power-on\n")  # there is no console: it writes to the log
        return by.start(
            PowerOn(
                wanted=node or SMALL,
                run=1,
                command_line=COMMAND_LINE,
                kernel=kernel,
                initrd=initrd,
                taps=dict(enumerate(taps, start=2)),
                disks=tuple(disks),
                line=line.line,
                accelerator=qemu.TCG,
                kvm_group=None,
            )
        )

    return start


def test_confined_and_alone(start, line):
    vm = start()
    status = dict(
        entry.split(":\t", 1) for entry in Path(f"/proc/{vm.pid}/status").read_text().splitlines() if ":\t" in entry
    )
    assert status["Uid"].split() == status["Gid"].split() == [str(UID)] * 4
    assert (status["CapEff"].strip("0"), status["NoNewPrivs"]) == ("", "1")
    assert status["Seccomp"] == "2"
    assert set(status["Groups"].split()) <= {str(UID)}
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


def test_fault_30_a_machine_whose_processor_hangs_is_ended_by_force(start, line):
    vm = start()
    vm.watch(lambda: None)
    line.wait(b"READY")
    os.kill(vm.pid, signal.SIGSTOP)
    began = time.monotonic()
    vm.end()
    assert vm.ended == "qemu crashed" and time.monotonic() - began < 12


def test_another_process_adopts_it(start, launcher, kind, folder, line):
    """The starter is killed: the machine runs on, its successor finds it, and learns how it ends."""
    starter = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {os.getcwd()!r})
        from pathlib import Path
        from tests.system.test_qemu_process import launcher_of
        vm = launcher_of({kind!r}, Path({str(folder)!r}), "", {PROJECT!r}).adopt({NODE})
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
    again = launcher.adopt(NODE)
    assert again is not None and again.pid == first.pid
    told = threading.Event()
    again.watch(told.set)
    line.type(b"reboot\n")
    assert told.wait(10) and again.ended == "the guest rebooted"
    assert launcher.adopt(NODE) is None


@pytest.mark.parametrize("kind", ["container"])
def test_its_container_has_nothing_of_the_host_and_ends_with_the_world(start, kind, folder):
    with new_world() as short_lived:
        vm, told = start(by=launcher_of(kind, folder, short_lived)), threading.Event()
        vm.watch(told.set)
        (seen,) = json.loads(docker("inspect", f"{PROJECT}-vm-{NODE}"))
        assert (seen["Mounts"], seen["Config"]["User"]) == ([], f"{UID}:{UID}")
        limits = seen["HostConfig"]
        assert not limits["Devices"] and not limits["CapAdd"] and limits["CapDrop"] == ["ALL"]
        assert limits["Memory"] > SMALL.ram_bytes and limits["PidsLimit"] and limits["ReadonlyRootfs"]
        assert seen["Config"]["Labels"].items() >= {"walt.instance": PROJECT, "walt.node": "5", "walt.run": "1"}.items()
        docker("kill", short_lived.partition(":")[2])
        assert told.wait(15) and vm.ended == "qemu crashed"
    assert docker("ps", "--all", "--quiet", "--filter", f"label=walt.instance={PROJECT}") == ""


def test_what_the_engine_lacks_is_said(world, folder):
    folders = Folders(folder / "run", folder / "state")
    with pytest.raises(Failed, match=f"vmrunner of compose project {PROJECT} is not to be found"):
        Containers(BINARY, folders, Engine(IMAGE, UID, PROJECT)).version()
    with pytest.raises(Failed, match="no such image: .*walt-none"):
        Containers(BINARY, folders, Engine("walt-none", UID, PROJECT, world)).version()


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path)


@pytest.fixture
def taps() -> Iterator[list[str]]:
    """As many as a node may have, connected to nothing."""
    names = [f"wtest{n}" for n in range(MAX_NETWORKS)]
    with contextlib.ExitStack() as undo:
        for name in names:
            with made_tap(name):
                pass
            undo.callback(subprocess.run, ["ip", "link", "delete", name], check=True)
        yield names


def used_bytes(store: DiskStore) -> list[int]:
    return [one.used_bytes for one in store.data(NODE)]


def test_fault_13_all_disks_and_interfaces_that_may_be_asked_for(start, line, store, taps):
    """And fault 18: each at its place."""
    interfaces = tuple(Interface(2 + n, f"52:54:00:00:00:{n:02x}", Network(n, "a", "")) for n in range(MAX_NETWORKS))
    disks = tuple(Disk(100 - n, (n + 1) * 8_000_000, NO_TEMPLATE) for n in range(MAX_DISKS))
    node = wanted(interfaces=interfaces, disks=disks, ram_bytes=256 * 2**20, cpu_cores=2)
    start(node, taps, store.prepare(NODE, disks))
    line.wait(b"READY")
    line.type(b"modules\n")
    line.wait(b"LOADED")
    line.type(b"devices\n")
    line.wait(b"LISTED")
    shown = line.seen.decode().split()
    for n, disk in enumerate(disks):
        place = shown.index(qemu.disk_name(n))
        assert shown[place + 1 : place + 3] == [str(disk.size_bytes // 512), f"walt-{disk.id}"]
    for one in interfaces:
        address = shown[shown.index(one.mac) - 1]
        assert address.split("/")[-2].endswith(f":00:{one.slot:02x}.0")
    slots = shown[shown.index("slots") + 1 : shown.index("LISTED")]
    assert {str(one.slot) for one in interfaces} <= set(slots)  # from which the guest names them ens2, ens3, …


@pytest.mark.parametrize("kind", ["process"])
def test_disks_hold_what_the_guest_writes_and_stay_sparse(start, line, store):
    disks = (Disk(3, 10**12, EXT4), Disk(4, 64_000_000, FAT32), Disk(5, 64_000_000, NO_TEMPLATE))
    small = wanted(interfaces=(), ram_bytes=128 * 2**20, cpu_cores=1, disks=disks)
    vm = start(small, (), store.prepare(NODE, disks))
    before = used_bytes(store)
    vm.watch(lambda: None)
    line.wait(b"READY")
    line.type(b"modules\n")
    line.wait(b"LOADED")
    line.type(
        b"sh cd /; b=/bin/busybox; $b mkdir /a /b; $b mount -t ext4 /dev/vda1 /a; $b mount -t vfat /dev/vdb1 /b; "
        b"echo kept > /a/f; echo kept > /b/f; $b umount /a /b; $b head -c 5000000 /dev/zero > /dev/vdc; "
        b"echo bare > /dev/vdc; $b sync; $b poweroff -f\n"
    )
    assert vm.wait(60) and vm.ended == "the guest powered off"
    grown = [now - then for now, then in zip(used_bytes(store), before, strict=True)]
    assert all(one.written for one in store.data(NODE))
    assert grown[0] < 10**6 and grown[1] < 10**5 and grown[2] <= 65536, grown  # zeros take no room
    larger = (replace(disks[0], size_bytes=2 * 10**12), *disks[1:])
    vm = start(replace(small, disks=larger), (), store.prepare(NODE, larger))
    line.wait(b"READY", times=2)
    line.type(b"modules\n")
    line.wait(b"LOADED", times=2)
    line.type(
        b"sh cd /; b=/bin/busybox; $b mkdir /a /b; $b mount -t ext4 /dev/vda1 /a; $b mount -t vfat /dev/vdb1 /b; "
        b"$b cat /sys/block/vda/size /a/f /b/f; $b head -c 4 /dev/vdc\n"
    )
    line.wait(b"DONE")
    assert line.seen.decode().split("LOADED")[-1].split() == ["3906250000", "kept", "kept", "bareDONE"]
    assert b"GPT:" not in line.seen  # the kernel found nothing wrong with the partition table


@pytest.mark.parametrize("kind", ["process"])
def test_a_pid_file_that_names_another_process_is_not_believed(start, launcher, line):
    vm = start()
    vm.watch(lambda: None)
    pid_file = launcher.pid_file(NODE)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        pid_file.write_text(str(stranger.pid))
        assert launcher.adopt(NODE) is None
        launcher.forget(NODE)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        vm.end()


def test_qemu_that_does_not_start_says_why(start, launcher, monkeypatch):
    monkeypatch.setattr(qemu, "_machine", lambda accelerator: ["-accel", "nonsense"])
    with pytest.raises(Failed, match="qemu does not start: .*invalid accelerator nonsense"):
        start()
    assert launcher.known() == set()


def test_fault_26_accelerator_is_found_by_booting_and_remembered(kernel, folder, launcher, kind):
    memory = folder / f"{kind}.json"
    chooser = Accelerator("auto", launcher, memory)
    began = time.monotonic()
    choice = chooser.choose(kernel)
    assert time.monotonic() - began < 12
    assert choice.name in (qemu.KVM, qemu.TCG) and choice.why
    assert Accelerator("auto", launcher, memory).known() == choice
    if not Path("/dev/kvm").exists():
        assert choice.name == qemu.TCG
