"""The small image boots over a network of its own: real NFS server, real HTTP, plain qemu; then the NFS server dies."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.bootserver import bootplan
from services.contracts import wire
from services.contracts.bootserver import BootRequest

CHECKOUT = Path(__file__).resolve().parents[2]
NAMESPACE = f"netboot-{os.getpid()}"
MAC, OTHER_MAC = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
REQUEST = BootRequest(5, "vnode5", 1, MAC, "192.168.172.10", "small", 2)
SITE = bootplan.site("192.168.172.0/22", "0.0.0.0:80")
BOOT_LIMIT_S = 90
INSIDE = ["ip", "netns", "exec", NAMESPACE]


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

    def start_nfs(self) -> subprocess.Popen:
        with open(self.folder / "nfs.log", "a") as log:
            return self.start(sys.executable, "-m", "services.bootserver.nfs", stdout=log, stderr=log)

    def nfs_answers(self) -> bool:
        code = f"import sys; from services.bootserver.nfsping import ping; sys.exit(bool(ping('{SITE.server}')))"
        return self.start(sys.executable, "-c", code).wait() == 0

    def arguments(self) -> dict[str, str]:
        """What the iPXE script tells a machine to load, its variables filled in: URLs, and the command line."""
        text = self.run("busybox", "wget", "-q", "-O", "-", f"http://{SITE.server}/boot/{REQUEST.node_id}/script.ipxe")
        values = {"mac": MAC, "ip": REQUEST.ip, "netmask": SITE.netmask, "gateway": SITE.server}
        for name, value in {**values, "next-server": SITE.server, "hostname": REQUEST.name}.items():
            text = text.replace(f"${{{name}}}", value)
        return {line.split()[0]: line.partition(" ")[2] for line in text.splitlines()}

    def start_machine(self, **changed: str) -> subprocess.Popen:
        """A plain qemu, as a person would start it by hand."""
        told = self.arguments()
        url, _, command_line = told["kernel"].partition(" ")
        for word, value in changed.items():
            command_line += f" walt.{word}={value}"
        for name, source in (("kernel", url), ("initrd", told["initrd"])):
            self.run("busybox", "wget", "-q", "-O", str(self.folder / name), source)
        console = self.folder / "console"
        console.unlink(missing_ok=True)
        return self.start(
            *("qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-accel", "tcg,thread=multi"),
            *("-m", "256M", "-smp", "2", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
            *("-kernel", str(self.folder / "kernel"), "-initrd", str(self.folder / "initrd"), "-append", command_line),
            *("-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={MAC},addr=0x2,romfile="),
            *("-netdev", "tap,id=n1,ifname=tap1,script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n1,mac={OTHER_MAC},addr=0x3,romfile="),
        )

    def console(self) -> str:
        return (self.folder / "console").read_text(errors="replace")

    def end(self, process: subprocess.Popen) -> None:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_until(condition, limit_s: float, what: str) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not in {limit_s:g} s: {what}"
        time.sleep(0.1)


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
    machine: subprocess.Popen
    seconds: float
    ssh: list[str]


@pytest.fixture(scope="module")
def nfs(world: World) -> dict[str, subprocess.Popen]:
    process = world.start_nfs()
    wait_until(world.nfs_answers, 10, "the NFS server answers")
    return {"process": process}


@pytest.fixture(scope="module")
def bootside(world: World, nfs) -> subprocess.Popen:
    request = json.dumps(wire.dump(REQUEST))
    module = "tests.system.bootside"
    state = str(world.folder / "bootserver")
    return world.start(sys.executable, "-m", module, state, str(world.tree), request, stdout=subprocess.PIPE, text=True)


def next_line(process: subprocess.Popen, limit_s: float) -> dict:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], limit_s)[0], f"nothing said in {limit_s:g} s"
    return json.loads(process.stdout.readline())


@pytest.fixture(scope="module")
def node(world: World, bootside) -> Node:
    access = next_line(bootside, 20)
    key, known = world.folder / "key", world.folder / "known_hosts"
    key.write_text(access["private_key"])
    key.chmod(0o600)
    known.write_text(f"{access['ip']} {access['host_key']}\n")
    started = time.time()
    machine = world.start_machine()
    booted = next_line(bootside, BOOT_LIMIT_S)
    assert (booted["node_id"], booted["run"]) == (REQUEST.node_id, REQUEST.run)
    checks = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
    ssh = ["ssh", "-i", str(key), *checks, f"{access['user']}@{access['ip']}"]
    return Node(machine, booted["at"] - started, ssh)


def test_small_image_boots_in_seconds(world: World, node: Node):
    print(f"small, 2 vCPU: {node.seconds:.1f} s from power-on to the greeting of its ssh server")
    assert "walt-init: root mounted over NFS" in world.console()
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


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_files_are_read_while_the_nfs_server_restarts(world: World, node: Node, nfs, how):
    """One program reads on while the server is away and waits for it; what was never read before is read after."""
    module = next(
        world.tree.glob("lib/modules/*/kernel/fs/" + ("xfs/xfs.ko" if how == signal.SIGTERM else "btrfs/btrfs.ko"))
    )
    path = f"/{module.relative_to(world.tree)}"
    nfs["process"].send_signal(how)
    nfs["process"].wait(10)
    reading = world.start(*node.ssh, f"sha256sum {path}", stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    assert reading.poll() is None, "the file was read without a server"
    nfs["process"] = world.start_nfs()
    said, _ = reading.communicate(timeout=60)
    expected = subprocess.run(["sha256sum", str(module)], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (reading.returncode, said.split()[0]) == (0, expected)


def test_reboot_ends_the_machine(world: World, node: Node):
    """Process 1 of the small image obeys; with -no-reboot, so does qemu."""
    subprocess.run([*INSIDE, *node.ssh, "reboot"], timeout=30, check=False)
    node.machine.wait(20)


def test_failing_step_is_said_on_the_console_and_ends(world: World, node: Node):
    world.end(node.machine)
    machine = world.start_machine(mac="52:54:00:00:00:0c")
    wait_until(lambda: machine.poll() is not None, 60, "the machine reboots")
    assert "walt-init: FAILED: no interface has the address 52:54:00:00:00:0c" in world.console()
