"""The small image boots over a network of its own: real HTTP, plain qemu. What a node writes is found after its next
boot where it should be."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.bootserver.site import make_site
from tests.support.wait import wait_until
from walt.contracts import serialization
from walt.contracts.bootserver import BootRequest

CHECKOUT = Path(__file__).resolve().parents[2]
NAMESPACE = f"netboot-{os.getpid()}"
MAC, OTHER_MAC = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
REQUEST = BootRequest(5, "vnode5", 1, MAC, "192.168.172.10", "small")
SITE = make_site("192.168.172.0/22", 80)
BOOT_LIMIT_S = 90
INSIDE = ["ip", "netns", "exec", NAMESPACE]


SECTOR = 512
FIRST_SECTOR = 2048


@dataclass
class World:
    folder: Path
    tree: Path
    processes: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *argv: str, **options) -> subprocess.Popen:
        """Start a program in the namespace; it is ended with the world at the latest."""
        process = subprocess.Popen([*INSIDE, *argv], cwd=CHECKOUT, env=self.environment, **options)
        self.processes.append(process)
        return process

    def run(self, *argv: str, timeout: float = 60) -> str:
        done = subprocess.run([*INSIDE, *argv], capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        own = {name: str(self.folder / name) for name in ("WALT_STATE_DIR", "WALT_RUN_DIR")}
        return {**os.environ, **own, "WALT_IMAGES_DIR": str(self.tree.parent)}

    @property
    def state(self) -> Path:
        """Of bootserver."""
        return self.folder / "WALT_STATE_DIR" / "bootserver"

    def make_disk(self, name: str, megabytes: int, **files: int) -> Path:
        """One partition with an ext4 file system that has these files, of so many megabytes (0: folders)."""
        path, content = self.folder / name, self.folder / f"{name}.content"
        content.mkdir()
        for file, size in files.items():
            (content / file).parent.mkdir(parents=True, exist_ok=True)
            (content / file).write_bytes(os.urandom(size * 10**6)) if size else (content / file).mkdir()
        path.touch()
        os.truncate(path, megabytes * 10**6)
        label = f"label: gpt\nstart={FIRST_SECTOR}\n"
        subprocess.run(["sfdisk", "--quiet", str(path)], input=label, text=True, check=True)
        kilobytes = megabytes * 10**6 // 1024 - 2048
        at = ["-E", f"offset={FIRST_SECTOR * SECTOR}", "-d", str(content)]
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", *at, str(path), f"{kilobytes}k"], check=True)
        return path

    def arguments(self) -> dict[str, str]:
        """What the iPXE script tells a machine to load, its variables filled in: URLs, and the command line."""
        url = f"http://{SITE.server}/boot/{REQUEST.node_id}/script.ipxe?node_ip={REQUEST.ip}"
        text = self.run("busybox", "wget", "-q", "-O", "-", url)
        values = {"mac": MAC, "ip": REQUEST.ip, "netmask": SITE.netmask, "gateway": SITE.server}
        for name, value in {**values, "next-server": SITE.server, "hostname": REQUEST.name}.items():
            text = text.replace(f"${{{name}}}", value)
        return {line.split()[0]: line.partition(" ")[2] for line in text.splitlines()}

    def start_machine(self, *disks: Path, **changed: str) -> subprocess.Popen:
        """A plain qemu, as a person would start it by hand; disks as vda, vdb, …, and after them the root. They are
        slow enough that a test sees what goes on."""
        script = self.arguments()
        url, _, command_line = script["kernel"].partition(" ")
        for word, value in changed.items():
            command_line += f" walt.{word}={value}"
        for name, source in (("kernel", url), ("initrd", script["initrd"]), ("root", script["sanhook"])):
            self.run("busybox", "wget", "-q", "-O", str(self.folder / name), source)
        console = self.folder / "console"
        console.write_text("")
        return self.start(
            *("qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-accel", "tcg,thread=multi"),
            *("-m", "256M", "-smp", "2", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
            *("-kernel", str(self.folder / "kernel"), "-initrd", str(self.folder / "initrd"), "-append", command_line),
            *("-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={MAC},addr=0x2,romfile="),
            *("-netdev", "tap,id=n1,ifname=tap1,script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n1,mac={OTHER_MAC},addr=0x3,romfile="),
            *("-device", "pci-bridge,id=disks,chassis_nr=1,addr=0x1e"),
            *(word for number, disk in enumerate(disks, 1) for word in drive(number, disk)),
            *("-drive", f"if=none,id=root,format=raw,readonly=on,file={self.folder / 'root'}"),
            *("-device", "virtio-blk-pci,drive=root,serial=walt-root,bus=disks,addr=0x1f"),
        )

    def has_printed(self, sentence: str) -> bool:
        return f"walt-init: {sentence}" in self.console()

    def console(self) -> str:
        return (self.folder / "console").read_text(errors="replace")

    def end(self, process: subprocess.Popen) -> None:
        if process.poll() is None:
            process.kill()
        process.wait()


def drive(number: int, disk: Path) -> list[str]:
    device = f"virtio-blk-pci,drive=disk{number},bus=disks,addr={number:#x}"
    return [
        "-drive",
        f"if=none,id=disk{number},format=raw,file={disk},throttling.bps-total=25000000",
        "-device",
        device,
    ]


@contextlib.contextmanager
def network() -> Iterator[None]:
    """A namespace with walt-net in it: a bridge with the server's address, and two taps."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        for line in (
            "link set lo up",
            "link add walt-net type bridge",
            f"addr add {SITE.server}/22 dev walt-net",
            "link set walt-net up",
            "tuntap add tap0 mode tap vnet_hdr",
            "link set tap0 master walt-net up",
            "tuntap add tap1 mode tap vnet_hdr",
            "link set tap1 up",
        ):
            subprocess.run(["ip", "-n", NAMESPACE, *line.split()], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


@pytest.fixture(scope="module")
def world(capable, tmp_path_factory) -> Iterator[World]:
    done = subprocess.run([sys.executable, "-m", "deploy.images", "small"], cwd=CHECKOUT, stdout=-1, check=True)
    with network():
        world = World(tmp_path_factory.mktemp("netboot"), Path(done.stdout.decode().strip()))
        try:
            yield world
        finally:
            for process in reversed(world.processes):
                world.end(process)


@dataclass
class Node:
    """The node's boots, one after the other."""

    world: World
    server: subprocess.Popen
    run: int = 0
    ssh: list[str] = field(default_factory=list)
    machine: subprocess.Popen | None = None
    seconds: float = 0.0

    def publish(self, request: BootRequest) -> dict:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(serialization.dump(request)) + "\n")
        self.server.stdin.flush()
        return next_line(self.server, 20)

    def power_on(self, *disks: Path, **changed: str) -> None:
        """Published anew, as vmrunner does."""
        self.run += 1
        self._trust(self.publish(replace(REQUEST, run=self.run, **changed)))
        self.machine = self.world.start_machine(*disks)

    def boot(self, *disks: Path, **changed: str) -> None:
        started = time.time()
        self.power_on(*disks, **changed)
        booted = next_line(self.server, BOOT_LIMIT_S)
        assert (booted["node_id"], booted["run"]) == (REQUEST.node_id, self.run)
        self.seconds = booted["at"] - started
        print(f"boot {self.run}: {self.seconds:.1f} s")

    def do(self, command: str) -> str:
        return self.world.run(*self.ssh, command)

    def end_with(self, command: str) -> None:
        """Process 1 of the small image obeys; with -no-reboot, so does qemu."""
        assert self.machine is not None
        subprocess.run([*INSIDE, *self.ssh, command], timeout=30, check=False)
        self.machine.wait(20)

    def kill(self) -> None:
        assert self.machine is not None
        self.world.end(self.machine)

    def _trust(self, access: dict) -> None:
        key, known = self.world.folder / "key", self.world.folder / "known_hosts"
        key.touch(mode=0o600)
        key.write_text(access["private_key"])
        known.write_text(f"{access['ip']} {access['host_key']}\n")
        checks = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
        self.ssh = ["ssh", "-i", str(key), *checks, f"{access['user']}@{access['ip']}"]


def next_line(process: subprocess.Popen, limit_s: float) -> dict:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], limit_s)[0], f"nothing printed in {limit_s:g} s"
    return json.loads(process.stdout.readline())


@pytest.fixture(scope="module")
def data_disk(world: World) -> Path:
    return world.make_disk("data", 64)


@pytest.fixture(scope="module")
def first_node(world: World) -> Node:
    argv = [sys.executable, "-m", "tests.system.netboot_server", str(world.state), str(world.tree)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return Node(world, world.start(*argv, **pipes))


@pytest.fixture(scope="module")
def node(first_node: Node, data_disk: Path) -> Node:
    first_node.boot(data_disk)
    return first_node


def test_small_image_boots_in_seconds(world: World, node: Node):
    print(f"small, 2 vCPU: {node.seconds:.1f} s from power-on to the greeting of its ssh server")
    assert "walt-init: root mounted from vdb" in world.console()
    assert node.seconds < BOOT_LIMIT_S


def test_node_is_set_up_before_its_system_starts(world: World, node: Node):
    assert world.run(*node.ssh, "hostname").strip() == REQUEST.name
    addresses = world.run(*node.ssh, "ip addr")
    first, second = addresses.partition("ens3:")[::2]
    assert f"inet {REQUEST.ip}/22 brd 192.168.175.255" in first and f"link/ether {MAC}" in first and "ens2:" in first
    assert "inet " not in second and f"link/ether {OTHER_MAC}" in second and "inet6 fe80:" in second
    assert world.run(*node.ssh, "cat /etc/hosts").count(REQUEST.name) == 1


def test_root_takes_changes_and_the_image_does_not(world: World, node: Node):
    world.run(*node.ssh, "echo here > /etc/changed && cat /etc/changed")
    assert not (world.tree / "etc/changed").exists()


def test_modules_of_the_kernel_can_be_loaded(world: World, node: Node):
    """Those that the kernel's own link emulation needs, when it is tried inside a node."""
    world.run(*node.ssh, "modprobe -a sch_netem sch_ingress ifb act_mirred cls_matchall cls_u32 sch_tbf")


def test_changes_of_a_network_boot_end_with_it_and_those_on_disk_stay(world, node, data_disk):
    node.do("mount /dev/vda1 /mnt && echo kept > /mnt/file && umount /mnt")
    node.end_with("reboot")
    node.boot(data_disk)
    assert node.do("ls /etc/changed 2>&1 || true").strip().endswith("No such file or directory")
    assert node.do("mount /dev/vda1 /mnt; cat /mnt/file; umount /mnt").split() == ["kept"]
    node.kill()


@pytest.fixture(scope="module")
def hybrid_disk(world: World) -> Path:
    """With a copy of an image that the node booted once, which leaves no room for another, and changes of a third."""
    files = {".persistent": 0, "older/image/file": 180, "changed/diff/file": 1}
    return world.make_disk("hybrid", 300, **{f"walt_hybrid/{name}": size for name, size in files.items()})


def test_hybrid_boot_starts_again_after_it_was_killed_while_copying(world, node, hybrid_disk):
    node.power_on(hybrid_disk)
    wait_until(lambda: re.search(r"walt-init: copying: \d+ %", world.console()), BOOT_LIMIT_S, "copying")
    assert world.has_printed("no room on vda1: removing image older")
    node.kill()
    node.boot(hybrid_disk)
    assert world.has_printed("hybrid boot (persistent) from vda1") and world.has_printed("copying: done")
    listing = "find . -type f -exec stat -c '%n %s %a %u:%g %Y' {} + | sort"
    file = f"/mnt/walt_hybrid/{world.tree.name}/image.erofs"
    node.do(f"mount -t ext4 /dev/vda1 /mnt && mkdir -p /tmp/image && mount -t erofs -o ro,loop {file} /tmp/image")
    copy = node.do(f"cd /tmp/image && {listing}")
    assert copy == subprocess.run(listing, shell=True, cwd=world.tree, capture_output=True, text=True).stdout
    assert node.do("ls /mnt/walt_hybrid /mnt/walt_hybrid/changed/diff").split()[1] == "changed"


def test_persistent_hybrid_boot_keeps_changes(world, node, hybrid_disk):
    node.do("echo kept > /etc/changed; rm /etc/os-release; echo gone > /tmp/file")
    node.end_with("reboot")
    node.boot(hybrid_disk)
    assert not world.has_printed("copying") and world.has_printed("root mounted from image.erofs")
    assert node.do("cat /etc/changed; ls /tmp; ls /etc | grep os-release; true").split() == ["kept"]
    assert node.do("hostname").strip() == REQUEST.name


def test_volatile_hybrid_boot_forgets_changes(world, node, hybrid_disk):
    node.do("mount -t ext4 /dev/vda1 /mnt && rmdir /mnt/walt_hybrid/.persistent")
    node.end_with("poweroff")
    node.boot(hybrid_disk)
    assert world.has_printed("hybrid boot (volatile) from vda1") and not world.has_printed("copying")
    assert node.do("ls /etc/changed 2>/dev/null; cat /etc/os-release").strip() == 'PRETTY_NAME="walt small"'
    node.kill()


def test_failing_step_is_said_on_the_console_and_ends(world: World, node: Node):
    machine = world.start_machine(mac="52:54:00:00:00:0c")
    wait_until(lambda: machine.poll() is not None, 60, "the machine reboots")
    assert "walt-init: FAILED: no interface has the address 52:54:00:00:00:0c" in world.console()
