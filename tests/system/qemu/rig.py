"""A guest that obeys words on its serial line, the line, and vmrunner's launchers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from services.bootserver.image_kernel.initrd import Index, resolve
from services.vmrunner.launcher.client import VmLauncher
from services.vmrunner.launcher.docker_vms import DockerVms
from services.vmrunner.launcher.server import LauncherServer
from services.vmrunner.qemu.containers import QemuContainers
from services.vmrunner.qemu.open_files import VmFolders
from services.vmrunner.qemu.processes import QemuProcesses
from services.vmrunner.qemu.stub import StubMachines
from services.vmrunner.qemu.vm import Launcher
from services.vmrunner.uids import UidRange
from tests.support.specs import spec
from tests.support.wait import wait_until
from walt.contracts.console import LinePaths

UIDS = UidRange(2013265920, 2013265930)
UID = UIDS.first + 1 + 5  # of node 5, which finds its number free
NODE = 5
BINARY = "qemu-system-x86_64"
IMAGE = os.environ.get("WALT_VM_IMAGE", "walt-vm")
ROOT = Path(__file__).parents[3]
PROJECT = f"walt-test-{os.getpid()}"
SMALL = spec(interfaces=(), ram_bytes=96 * 2**20, cpu_cores=1)
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
            for one in /sys/class/net/eth*
                do echo "$(/bin/busybox readlink -f $one/device) $(/bin/busybox cat $one/address)"; done
            echo "slots" $(/bin/busybox ls /sys/bus/pci/slots); echo LISTED ;;
        sh*) eval "${line#sh }"; echo DONE ;;
        *) echo "GOT $line" | /bin/busybox cat -v ;;
    esac
done
"""


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
        self.line = LinePaths(str(folder / "line.sock"), str(folder / "line.log"), str(folder / "line.in"))
        os.mkfifo(self.line.input, 0o600)

    @property
    def seen(self) -> bytes:
        return Path(self.line.log).read_bytes()

    def type(self, data: bytes) -> None:
        fifo = os.open(self.line.input, os.O_WRONLY | os.O_NONBLOCK)  # fails where nobody reads
        os.write(fifo, data)
        os.close(fifo)

    def wait(self, text: bytes, limit_s: float = 30, times: int = 1) -> None:
        wait_until(lambda: self.seen.count(text) >= times, limit_s, lambda: f"{text!r} in {self.seen[-1000:]!r}")


def launcher_of(kind: str, folder: Path, world: str, project: str = PROJECT) -> Launcher:
    folders = VmFolders(folder / "run", UIDS)
    if kind == "process":
        return QemuProcesses(BINARY, folders)
    if kind == "stub":
        return StubMachines(folders)
    return QemuContainers(BINARY, folders, served(folder, DockerVms(IMAGE, project, UIDS, world)))


def served(folder: Path, vms: DockerVms) -> VmLauncher:
    """The client of a launcher process in a thread of its own, until this process ends."""
    path = folder / f"launcher-{os.urandom(4).hex()}"
    server = LauncherServer(path, vms, peers=(os.getuid(),))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return VmLauncher(path)


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
