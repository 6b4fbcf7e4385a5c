"""Seconds from power-on to a node that answers on its ssh port: `python -m benchmarks.boot [INSTANCE] [RUNS]`.

On a running local platform, otherwise idle. Two ways to boot the same node, in turn:

    walt        `walt node create -c boot.delay=0` until `walt node wait` returns
    bare qemu   started by hand with the same kernel, initrd, command line, root and network: the reference

CPU seconds are those of the qemu process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local import network
from deploy.local.instance import Instance
from services.vmrunner.qemu import command_line

NODE = "bench-boot"
TAP = "bench0"
LIMIT_RATIO = 1.05
TICKS = os.sysconf("SC_CLK_TCK")
WALT = Path(sys.executable).with_name("walt")


@dataclass(frozen=True)
class Took:
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Boot:
    """What walt's own qemu was started with, to start the same by hand."""

    ip: str
    mac: str
    machine: tuple[str, ...]  # -machine, -accel, -cpu, -m, -smp
    kernel: Path
    initrd: Path
    root: Path
    append: str


def walt(*arguments: str) -> str:
    return subprocess.run([WALT, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine_of(instance: Instance, name: str) -> int:
    for pid in network.processes(instance):
        with contextlib.suppress(OSError):
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if argv[0].startswith(b"qemu-system") and name.encode() in argv:
                return pid
    raise SystemExit(f"no machine of {name} in {instance.name}")


def by_walt(instance: Instance) -> tuple[Took, Boot]:
    start = time.monotonic()
    walt("node", "create", NODE, "-c", "boot.delay=0")
    walt("node", "wait", NODE)
    wall_s = time.monotonic() - start
    pid = machine_of(instance, NODE)
    took, boot = Took(wall_s, cpu_seconds(pid)), read_boot(pid)
    # The plan of this boot stays published while the node waits for its next one: the same node by hand.
    walt("node", "config", NODE, "boot.timeout=none", "boot.delay=3600")
    walt("node", "reboot", NODE)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.1)
    return took, boot


def read_boot(pid: int) -> Boot:
    argv = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    value = dict(zip(argv, argv[1:], strict=False))
    (node,) = json.loads(walt("node", "show", NODE, "-o", "json"))
    names = {option: Path(value[option]).name for option in ("-kernel", "-initrd")}
    files = {use: (Path(f"/proc/{pid}/fd") / name).readlink() for use, name in names.items()}
    # qemu has moved the descriptor of the root; of the files in vmrunner's cache it is the third.
    is_open = {one.readlink() for one in Path(f"/proc/{pid}/fd").iterdir()}
    (files["root"],) = {one for one in is_open if one.parent == files["-kernel"].parent} - {*files.values()}
    return Boot(
        ip=node["ip"],
        mac=node["mac"],
        machine=tuple(word for o in ("-machine", "-accel", "-cpu", "-m", "-smp") for word in (o, value[o])),
        kernel=files["-kernel"],
        initrd=files["-initrd"],
        root=files["root"],
        append=value["-append"],
    )


def until_ssh(instance: Instance, ip: str, argv: list[str]) -> Took:
    """Start qemu in the instance's network; the time until its guest's ssh port sends its banner."""
    start = time.monotonic()
    qemu = subprocess.Popen([*instance.enter, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not answers(ip):
            if qemu.poll() is not None or time.monotonic() > start + 300:
                raise SystemExit(f"no boot: {' '.join(argv)}")
            time.sleep(0.05)
        return Took(time.monotonic() - start, cpu_seconds(qemu.pid))
    finally:
        qemu.send_signal(signal.SIGKILL)
        qemu.wait()


def answers(ip: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((ip, 22), 0.5) as connection:
        connection.settimeout(2)
        return connection.recv(4) == b"SSH-"
    return False


def common(boot: Boot) -> list[str]:
    return [
        "qemu-system-x86_64",
        *("-nodefaults", "-vga", "none", "-display", "none", *boot.machine),
        *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng,addr=0x1f"),
        *("-netdev", f"tap,id=n,ifname={TAP},script=no,downscript=no", "-serial", "null"),
    ]


def by_hand(instance: Instance, boot: Boot) -> Took:
    nic = f"virtio-net-pci,netdev=n,mac={boot.mac},addr=0x2,romfile="
    files = ["-kernel", str(boot.kernel), "-initrd", str(boot.initrd), "-append", boot.append]
    files += ["-drive", f"file={boot.root},if=none,id=root,format=raw,readonly=on"]
    files += ["-device", f"virtio-blk-pci,drive=root,serial={command_line.ROOT_SERIAL}"]
    return until_ssh(instance, boot.ip, [*common(boot), "-device", nic, *files])


@contextlib.contextmanager
def inside(instance: Instance) -> Iterator[None]:
    """This process in the instance's network, with a tap on walt-net; the tap is gone afterwards."""
    namespace = os.open(instance.namespace_file, os.O_RDONLY)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    enter = [*instance.enter, "ip"]
    subprocess.run([*enter, "tuntap", "add", TAP, "mode", "tap"], check=True)
    subprocess.run([*enter, "link", "set", TAP, "master", "walt-net", "up"], check=True)
    try:
        set_namespace(namespace)
        yield
    finally:
        set_namespace(home)
        subprocess.run([*enter, "tuntap", "del", TAP, "mode", "tap"], check=True)


def set_namespace(handle: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(handle, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def one_round(instance: Instance) -> dict[str, Took]:
    try:
        walt_took, boot = by_walt(instance)
        with inside(instance):
            return {"walt": walt_took, "bare qemu": by_hand(instance, boot)}
    finally:
        subprocess.run([WALT, "node", "remove", NODE], check=False, stdout=subprocess.DEVNULL)


def main() -> None:
    instance = Instance(sys.argv[1] if len(sys.argv) > 1 else "local")
    rounds = [one_round(instance) for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 3)]
    print(f"{'way':<12}{'wall s':>10}{'ratio':>8}{'CPU s':>10}{'ratio':>8}    median of {len(rounds)}")
    wall = {way: statistics.median(one[way].wall_s for one in rounds) for way in rounds[0]}
    cpu = {way: statistics.median(one[way].cpu_s for one in rounds) for way in rounds[0]}
    for way in rounds[0]:
        ratios = f"{wall[way] / wall['bare qemu']:>8.2f}{cpu[way]:>10.1f}{cpu[way] / cpu['bare qemu']:>8.2f}"
        print(f"{way:<12}{wall[way]:>10.1f}{ratios}")
    print(f"limit: walt at most {LIMIT_RATIO} x bare qemu")


if __name__ == "__main__":
    main()
