"""The qemu command line of one VM. Pure: (its spec, the files opened for it) -> argv.

Everything that qemu needs from the host comes as an open file: taps, disks, kernel, initrd, the socket of its monitor,
and its serial line as standard input and output. So it can run as a user without rights, wherever the files are.

Interfaces have the slots of the first PCI bus, 2 to 29, and disks those of a second bus behind a bridge: neither moves
when there are more or fewer of the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from walt.contracts.nodes import Disk, Interface, NodeWanted

TCG = "tcg"
KVM = "kvm"

TRANSLATION_CACHE_MB = 128
DISKS_SLOT = 30  # of the bridge to the disks; interfaces take 2 to 29
RNG_SLOT = 31
PERSIST_ADDRESS = 30  # on the bus of the disks; those of the spec take 1 to 26
PERSIST_SERIAL = "walt-persist"  # by which walt-init finds it
ROOT_ADDRESS = 31  # on the bus of the disks
ROOT_SERIAL = "walt-root"  # by which walt-init finds it


@dataclass(frozen=True)
class QemuFiles:
    """File descriptors, as numbers in the new process; taps: {PCI slot: descriptor}; disks: as in NodeWanted;
    persist: the one for /persist; root: a read-only one beside them."""

    kernel: int
    initrd: int | None
    monitor: int
    taps: dict[int, int]
    disks: tuple[int, ...] = ()
    persist: int | None = None
    root: int | None = None

    def descriptors(self) -> tuple[int, ...]:
        """All of them, in the order of `numbered_from`."""
        optional = [[] if one is None else [one] for one in (self.initrd, self.persist, self.root)]
        initrd, persist, root = optional
        return (self.kernel, self.monitor, *initrd, *self.taps.values(), *self.disks, *persist, *root)

    def numbered_from(self, first: int) -> QemuFiles:
        """The same files in a process where they have the numbers first, first + 1, …"""
        number = itertools.count(first)
        return QemuFiles(
            kernel=next(number),
            monitor=next(number),
            initrd=None if self.initrd is None else next(number),
            taps={slot: next(number) for slot in self.taps},
            disks=tuple(next(number) for _ in self.disks),
            persist=None if self.persist is None else next(number),
            root=None if self.root is None else next(number),
        )


def command(
    binary: str,
    spec: NodeWanted,
    files: QemuFiles,
    *,
    command_line: str,
    accelerator: str,
    pid_file: str | None = None,
) -> list[str]:
    return [
        binary,
        "-S",  # its processors wait for `vm.begin`
        *("-name", spec.name),
        *_CONFINED,
        *_machine(accelerator),
        *_identity(spec),
        *("-m", f"{spec.ram_bytes // 2**20}M"),
        *("-smp", str(spec.cpu_cores)),
        *_boot(files, command_line),
        *_LINE,
        *_monitor(files.monitor),
        *("-object", "rng-random,id=rng,filename=/dev/urandom"),
        *("-device", f"virtio-rng-pci,rng=rng,addr={RNG_SLOT:#x}"),
        *_interfaces(spec, files.taps),
        *_disk_bus(files),
        *_disks(spec.disks, files.disks),
        *([] if files.persist is None else _disk("persist", files.persist, PERSIST_SERIAL, PERSIST_ADDRESS)),
        *([] if files.root is None else _root(files.root)),
        *([] if pid_file is None else ["-pidfile", pid_file]),
    ]


def probe(binary: str, kernel: int) -> list[str]:
    """A VM that boots a kernel under KVM, and ends."""
    return [
        binary,
        *_CONFINED,
        *_machine(KVM),
        *("-m", "128M"),
        *("-kernel", _open_file(kernel)),
        *("-append", "panic=-1"),
    ]


BASE_NICE = 5  # what users run gets a third of the processor time that the services get who want it too
MAX_NICE = 19
BEHIND = ("nice", "-n", str(BASE_NICE))


def nice_steps(weight: float) -> int:
    """Above BASE_NICE; weight: 1 at most. Each step gives 1.25 times less (sched(7))."""
    return min(MAX_NICE - BASE_NICE, round(-math.log(weight, 1.25)))


def as_user(uid: int, argv: list[str], group: int | None = None, *, detached: bool = True) -> list[str]:
    """argv run by an unprivileged user who is in that one other group; detached: in a session
    of its own, not as our child."""
    drop = [
        "setpriv",
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups" if group is None else f"--groups={group}",
        "--no-new-privs",
        "--inh-caps=-all",
    ]
    return [*(["setsid", "--fork"] if detached else []), *BEHIND, *drop, *argv]


_CONFINED = (
    "-nodefaults",
    "-no-user-config",
    *("-vga", "none"),
    *("-display", "none"),
    *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
    "-no-reboot",
)

# Without a monitor that the guest's bytes could reach. Why not a socket: see contracts/console.py.
_LINE = ("-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line")

# What the guest's driver reports, nothing more; bonding with LACP ignores interfaces of unknown speed or duplex.
_REPORTED_SPEED = {"speed": 1000, "duplex": "full"}

# A guest gets frames as they are on a wire: no larger than its MTU, with complete checksums, whatever the link does.
# Programs in it that take them from a packet socket, such as a switch in user space, pass them on as they are. What
# the guest sends may still be large and unfinished: the kernel completes it in the tap.
_WIRE_FRAMES = dict.fromkeys(("guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"), False)


def _machine(accelerator: str) -> list[str]:
    accel = KVM if accelerator == KVM else f"tcg,thread=multi,tb-size={TRANSLATION_CACHE_MB}"
    return [
        *("-machine", "pc,usb=off,mem-merge=on"),
        *("-accel", accel),
        *("-cpu", "host" if accelerator == KVM else "max"),
    ]


def _identity(spec: NodeWanted) -> list[str]:
    """What the guest reads in /sys/class/dmi/id."""
    identity = spec.machine_uuid
    return ["-uuid", str(identity), "-smbios", f"type=1,serial=walt-node-{spec.id},uuid={identity}"]


def _boot(files: QemuFiles, command_line: str) -> list[str]:
    initrd = [] if files.initrd is None else ["-initrd", _open_file(files.initrd)]
    return ["-kernel", _open_file(files.kernel), *initrd, "-append", command_line]


def _monitor(listener: int) -> list[str]:
    return [
        *("-chardev", f"socket,id=qmp,fd={listener},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
    ]


def netdev(network_id: int) -> str:
    """What an interface is called in qemu: by its network, since the slots of a newer spec may be those of others."""
    return f"network{network_id}"


def network_device(interface: Interface) -> dict[str, Any]:
    """The properties of the device, for `-device` and for a machine that runs. Its id says what it is (hotplug.py)."""
    net = netdev(interface.network.id)
    return {
        "driver": "virtio-net-pci",
        "id": f"{net}-slot{interface.slot}",
        "netdev": net,
        "mac": interface.mac,
        "addr": f"{interface.slot:#x}",
        "romfile": "",
        **_REPORTED_SPEED,
        **_WIRE_FRAMES,
    }


def _interfaces(spec: NodeWanted, taps: dict[int, int]) -> list[str]:
    argv: list[str] = []
    for one in spec.interfaces:
        argv += ["-netdev", f"tap,id={netdev(one.network.id)},fd={taps[one.slot]},vhost=off"]
        properties = network_device(one)
        words = [f"{name}={_on_command_line(value)}" for name, value in properties.items() if name != "driver"]
        argv += ["-device", ",".join([properties["driver"], *words])]
    return argv


def _on_command_line(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def disk_name(position: int) -> str:
    """'vda' for 0: the guest's name for the disk at this position of the spec."""
    return f"vd{chr(ord('a') + position)}"


def _disk_bus(files: QemuFiles) -> list[str]:
    """The bridge has no hot-plug slots of its own: their numbers would take the names of the interfaces (ens2, …)."""
    if not files.disks and files.persist is None and files.root is None:
        return []
    return [
        *("-global", "PIIX4_PM.acpi-pci-hotplug-with-bridge-support=off"),
        *("-device", f"pci-bridge,id=disks,chassis_nr=1,shpc=off,addr={DISKS_SLOT:#x}"),
    ]


def _root(file: int) -> list[str]:
    """The image, shared by all VMs that boot it. It is the last disk of the bus, so that the guest finds it after
    those of the node."""
    return [
        *("-add-fd", f"fd={file},set={ROOT_ADDRESS}"),
        *("-blockdev", f"driver=file,node-name=root-file,filename=/dev/fdset/{ROOT_ADDRESS},read-only=on,locking=off"),
        *("-blockdev", "driver=raw,node-name=root,file=root-file,read-only=on"),
        *("-device", f"virtio-blk-pci,drive=root,serial={ROOT_SERIAL},bus=disks,addr={ROOT_ADDRESS:#x}"),
    ]


def _disks(disks: Sequence[Disk], files: Sequence[int]) -> list[str]:
    argv = []
    for place, (disk, file) in enumerate(zip(disks, files, strict=True), start=1):
        argv += _disk(disk_name(place - 1), file, f"walt-{disk.id}", place)
    return argv


def _disk(name: str, file: int, serial: str, place: int) -> list[str]:
    """discard, detect-zeroes: what the guest frees or fills with zeros takes no space on the server.
    werror: when the server has no space left the guest gets an error; qemu's default is to halt the VM silently."""
    return [
        *("-add-fd", f"fd={file},set={place}"),
        *("-blockdev", f"driver=file,node-name={name}-file,filename=/dev/fdset/{place},discard=unmap"),
        *("-blockdev", f"driver=raw,node-name={name},file={name}-file,discard=unmap,detect-zeroes=unmap"),
        *(
            "-device",
            f"virtio-blk-pci,drive={name},serial={serial},bus=disks,addr={place:#x},werror=report,rerror=report",
        ),
    ]


def _open_file(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
