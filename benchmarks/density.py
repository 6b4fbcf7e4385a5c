"""Memory of the host for each VM: `python -m benchmarks.density IMAGE [VMS]`.

Needs root, qemu and a built image (a folder, as `python -m deploy.images debian` prints it); no platform, no network.
VMS (default 4) VMs of 128 MB and of 512 MB boot the image by hand, with its root as the platform gives it, a read-only
virtio-blk disk (the reference), and as a virtio-pmem device that the guest maps (DAX), without and with KSM, whose
settings are restored. Memory is the PSS of the qemu processes (proc(5), smaps_rollup) when it has come to rest after
the login prompt; what they share is divided among them.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.bootserver.image_kernel import initrd, kernel_image, module_reader, root_file

KSM = Path("/sys/kernel/mm/ksm")
OFF, ON, UNMERGE = "0", "1", "2"
PMEM_MODULES = ("virtio_pmem", "nd_pmem")
PMEM_ALIGNMENT = 2**21
BLK, PMEM = "virtio-blk", "virtio-pmem, DAX"
RAM_MB = (128, 512)
BOOT_LIMIT_S, REST_S, REST_LIMIT_S = 600, 20, 240
PROMPT = b"login:"
TICKS_PER_S = 100

INIT = """\
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev
modprobe -a $(cat /etc/modules)
if [ -e /dev/pmem0 ]; then mount -t erofs -o ro,dax=always /dev/pmem0 /image
else mount -t erofs -o ro /dev/vda /image; fi
mount -t tmpfs ram /ram && mkdir /ram/changes /ram/work
mount -t overlay -o lowerdir=/image,upperdir=/ram/changes,workdir=/ram/work root /root
for folder in proc sys dev; do mount --move /$folder /root/$folder; done
exec switch_root /root /sbin/init
"""


@dataclass(frozen=True)
class BootFiles:
    kernel: Path
    initrd: Path
    root: Path


@dataclass(frozen=True)
class Used:
    """Of each VM, on the average; cpu_s: to the prompt of the first; merged_mib: with KSM."""

    cpu_s: float
    mib: float
    merged_mib: float


def boot_files(tree: Path, folder: Path) -> BootFiles:
    kernel = kernel_image.find(tree)
    if kernel is None:
        raise SystemExit(f"{tree} has no kernel")
    modules, files = module_reader.read(tree, kernel.version, (*initrd.MODULES, *PMEM_MODULES))
    busybox = Path("/bin/busybox").read_bytes()
    (folder / "initrd").write_bytes(
        initrd.archive(initrd.contents(kernel.version, modules, files, busybox, INIT.encode()))
    )
    root = folder / "root"
    subprocess.run(root_file.argv(root_file.EROFS, tree, root), check=True, stdout=subprocess.DEVNULL)
    with root.open("r+b") as file:
        file.truncate(-(-root.stat().st_size // PMEM_ALIGNMENT) * PMEM_ALIGNMENT)
    return BootFiles(kernel.file, folder / "initrd", root)


def argv(files: BootFiles, device: str, ram_mb: int, console: Path) -> list[str]:
    size = files.root.stat().st_size
    backend = f"memory-backend-file,id=root,mem-path={files.root},size={size},share=on,readonly=on"
    root = {
        BLK: ["-drive", f"file={files.root},if=none,id=root,format=raw,readonly=on,file.locking=off"]
        + ["-device", "virtio-blk-pci,drive=root"],
        PMEM: ["-object", backend, "-device", "virtio-pmem-pci,memdev=root"],
    }[device]
    # Else the kernel keeps 64 MB for devices that reach no address above 4 GiB, where virtio-pmem is.
    more = " swiotlb=noforce" if device == PMEM else ""
    memory = f"{ram_mb}M" if device == BLK else f"{ram_mb}M,maxmem={ram_mb + size // 2**20 + 64}M"
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", "-machine", "pc,mem-merge=on"),
        *("-accel", "tcg,thread=multi,tb-size=128", "-cpu", "max", "-smp", "1", "-m", memory),
        *(
            "-kernel",
            str(files.kernel),
            "-initrd",
            str(files.initrd),
            "-append",
            f"console=ttyS0 quiet mitigations=off panic=-1{more}",
        ),
        *("-serial", f"file:{console}", *root),
    ]


@contextlib.contextmanager
def machines(files: BootFiles, device: str, ram_mb: int, count: int, folder: Path) -> Iterator[list[int]]:
    """Process ids of VMs that show their prompt, booted one after the other."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(count):
            console = folder / f"console{number}"
            console.write_bytes(b"")
            running.append(subprocess.Popen(argv(files, device, ram_mb, console)))
            end = time.monotonic() + BOOT_LIMIT_S
            while PROMPT not in console.read_bytes():
                if running[-1].poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{device}, {ram_mb} MB: no prompt: {console.read_bytes()[-1000:]!r}")
                time.sleep(0.5)
        yield [one.pid for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()


def pss_mib(pids: list[int]) -> float:
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(text.split("\nPss:")[1].split()[0]) for text in texts) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def at_rest(pids: list[int]) -> float:
    """The PSS of all when it changes by less than 1 %."""
    end, before = time.monotonic() + REST_LIMIT_S, 0.0
    while abs((present := pss_mib(pids)) - before) > present / 100 and time.monotonic() < end:
        before = present
        time.sleep(REST_S)
    return present


def set_ksm(run: str) -> None:
    (KSM / "run").write_text(run)


def measure(files: BootFiles, device: str, ram_mb: int, count: int, folder: Path) -> Used:
    set_ksm(UNMERGE)
    with machines(files, device, ram_mb, count, folder) as pids:
        used_s = cpu_s(pids[0])
        plain = at_rest(pids)
        set_ksm(ON)
        return Used(used_s, plain / count, at_rest(pids) / count)


def main() -> None:
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    former = (KSM / "run").read_text().strip()
    pages = (KSM / "pages_to_scan").read_text().strip()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = boot_files(Path(sys.argv[1]), folder)
        try:
            (KSM / "pages_to_scan").write_text("4000")
            print(
                f"{count} VMs   {'ram MB':>8}{'root':>18}{'CPU s':>8}{'MiB':>8}{'with KSM':>10}{'ratio':>8}", flush=True
            )
            for ram_mb in RAM_MB:
                reference = 0.0
                for device in (BLK, PMEM):
                    used = measure(files, device, ram_mb, count, folder)
                    reference = reference or used.merged_mib
                    row = f"{used.cpu_s:8.1f}{used.mib:8.0f}{used.merged_mib:10.0f}{used.merged_mib / reference:8.2f}"
                    print(f"{'':8}{ram_mb:8}{device:>18}{row}", flush=True)
        finally:
            (KSM / "pages_to_scan").write_text(pages)
            set_ksm(UNMERGE if former == OFF else former)
            set_ksm(former)


if __name__ == "__main__":
    main()
