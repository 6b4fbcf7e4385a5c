"""The qemu command line of one machine. Pure: (what the node should be, what was opened for it) -> argv.

Everything that qemu needs from the host comes as an open file: taps, disks, kernel, initrd, the socket of its monitor,
and its serial line as standard input and output. So it can run as a user who owns nothing, wherever the files are.

Interfaces have the slots of the first PCI bus, 2 to 29, and disks those of a second bus behind a bridge: neither moves
when there are more or fewer of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from services.contracts.nodes import Disk, NodeWanted

TCG = "tcg"
KVM = "kvm"

TRANSLATION_CACHE_MB = 128
DISKS_SLOT = 30  # of the bridge to the disks; interfaces take 2 to 29
RNG_SLOT = 31


@dataclass(frozen=True)
class Files:
    """File descriptors, as numbers in the new process; taps: {PCI slot: descriptor}; disks: as in NodeWanted."""

    kernel: int
    initrd: int | None
    monitor: int
    taps: dict[int, int]
    disks: tuple[int, ...] = ()

    def descriptors(self) -> tuple[int, ...]:
        """All of them, in the order of `numbered_from`."""
        initrd = () if self.initrd is None else (self.initrd,)
        return (self.kernel, self.monitor, *initrd, *self.taps.values(), *self.disks)

    def numbered_from(self, first: int) -> Files:
        """The same files in a process where they have the numbers first, first + 1, …"""
        number = itertools.count(first)
        return Files(
            kernel=next(number),
            monitor=next(number),
            initrd=None if self.initrd is None else next(number),
            taps={slot: next(number) for slot in self.taps},
            disks=tuple(next(number) for _ in self.disks),
        )


def command(
    binary: str,
    wanted: NodeWanted,
    files: Files,
    *,
    command_line: str,
    accelerator: str,
    pid_file: str | None = None,
) -> list[str]:
    return [
        binary,
        *("-name", wanted.name),
        *_CONFINED,
        *_machine(accelerator),
        *("-m", f"{wanted.ram_bytes // 2**20}M"),
        *("-smp", str(wanted.cpu_cores)),
        *_boot(files, command_line),
        *_LINE,
        *_monitor(files.monitor),
        *("-object", "rng-random,id=rng,filename=/dev/urandom"),
        *("-device", f"virtio-rng-pci,rng=rng,addr={RNG_SLOT:#x}"),
        *_interfaces(wanted, files.taps),
        *_disks(wanted.disks, files.disks),
        *([] if pid_file is None else ["-pidfile", pid_file]),
    ]


def probe(binary: str, kernel: int) -> list[str]:
    """A machine that does nothing but boot a kernel under KVM and end."""
    return [
        binary,
        *_CONFINED,
        *_machine(KVM),
        *("-m", "128M"),
        *("-kernel", _open_file(kernel)),
        *("-append", "panic=-1"),
    ]


def as_user(uid: int, argv: list[str], group: int | None = None, *, detached: bool = True) -> list[str]:
    """The same as an unprivileged user (0: as it is), who is in that one other group; detached: in a session of its
    own, a child of nobody here."""
    drop = [
        "setpriv",
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups" if group is None else f"--groups={group}",
        "--no-new-privs",
        "--inh-caps=-all",
    ]
    return [*(["setsid", "--fork"] if detached else []), *(drop if uid else []), *argv]


_CONFINED = (
    "-nodefaults",
    "-no-user-config",
    *("-vga", "none"),
    *("-display", "none"),
    *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
    "-no-reboot",
)

# No monitor behind it, whatever the bytes; why not a socket: see contracts/console.py.
_LINE = ("-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line")


def _machine(accelerator: str) -> list[str]:
    accel = KVM if accelerator == KVM else f"tcg,thread=multi,tb-size={TRANSLATION_CACHE_MB}"
    return [
        *("-machine", "pc,usb=off,mem-merge=on"),
        *("-accel", accel),
        *("-cpu", "host" if accelerator == KVM else "max"),
    ]


def _boot(files: Files, command_line: str) -> list[str]:
    initrd = [] if files.initrd is None else ["-initrd", _open_file(files.initrd)]
    return ["-kernel", _open_file(files.kernel), *initrd, "-append", command_line]


def _monitor(listener: int) -> list[str]:
    return [
        *("-chardev", f"socket,id=qmp,fd={listener},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
    ]


def _interfaces(wanted: NodeWanted, taps: dict[int, int]) -> list[str]:
    argv: list[str] = []
    for one in wanted.interfaces:
        net = f"net{one.slot}"
        argv += ["-netdev", f"tap,id={net},fd={taps[one.slot]},vhost=off"]
        argv += ["-device", f"virtio-net-pci,netdev={net},mac={one.mac},addr={one.slot:#x},romfile="]
    return argv


def disk_name(position: int) -> str:
    """What the guest calls the disk at this place of the list."""
    return f"vd{chr(ord('a') + position)}"


def _disks(disks: Sequence[Disk], files: Sequence[int]) -> list[str]:
    """discard, detect-zeroes: what the guest frees or fills with zeros takes no room on the server.
    werror: when the server has no room left the guest is told; qemu's default is to halt the machine without a word.
    The bridge has no hot-plug slots of its own: their numbers would take the names of the interfaces (ens2, …)."""
    if not disks:
        return []
    argv = ["-global", "PIIX4_PM.acpi-pci-hotplug-with-bridge-support=off"]
    argv += ["-device", f"pci-bridge,id=disks,chassis_nr=1,shpc=off,addr={DISKS_SLOT:#x}"]
    for place, (disk, file) in enumerate(zip(disks, files, strict=True), start=1):
        name = disk_name(place - 1)
        sparse = "discard=unmap,detect-zeroes=unmap"
        argv += ["-add-fd", f"fd={file},set={place}"]
        argv += ["-blockdev", f"driver=file,node-name={name}-file,filename=/dev/fdset/{place},discard=unmap"]
        argv += ["-blockdev", f"driver=raw,node-name={name},file={name}-file,{sparse}"]
        device = f"virtio-blk-pci,drive={name},serial=walt-{disk.id},bus=disks,addr={place:#x}"
        argv += ["-device", f"{device},werror=report,rerror=report"]
    return argv


def _open_file(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
