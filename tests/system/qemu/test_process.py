"""vmrunner's launchers with a real qemu: start, confinement, console line, endings, adoption, accelerator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.vmrunner.launcher.docker_vms import DockerVms
from services.vmrunner.qemu import command_line, endings
from services.vmrunner.qemu.accelerator import Accelerator
from services.vmrunner.qemu.containers import QemuContainers
from services.vmrunner.qemu.open_files import VmFolders
from tests.system.qemu.rig import (
    BINARY,
    IMAGE,
    NODE,
    PROJECT,
    SMALL,
    UID,
    UIDS,
    docker,
    launcher_of,
    new_world,
    served,
)
from walt.contracts.errors import Failed


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
    assert vm.ending == endings.QEMU_QUIT and vm.usage() is None


def test_its_share_of_the_processors(start, kind):
    """All its threads, or its control group."""
    vm = start()
    vm.set_cpu_weight(1 / 10)
    if kind == "container":
        shares = docker("inspect", "--format={{.HostConfig.CpuShares}}", f"{PROJECT}-vm-{NODE}")
        assert int(shares) == 102
    else:
        priorities = {
            os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in Path(f"/proc/{vm.pid}/task").iterdir()
        }
        assert priorities == {command_line.BASE_NICE + 10}
        vm.set_cpu_weight(1)
        assert os.getpriority(os.PRIO_PROCESS, vm.pid) == command_line.BASE_NICE
    vm.watch(lambda: None)
    vm.end()
    vm.set_cpu_weight(1)  # nothing happens


@pytest.mark.parametrize("kind", ["process"])
def test_guest_finds_its_own_identity(start, line):
    """And qemu finds nothing of ours."""
    node = replace(SMALL, registry="a" * 32)
    vm = start(node)
    assert b"WALT_" not in Path(f"/proc/{vm.pid}/environ").read_bytes()
    line.wait(b"READY")
    line.type(b"sh /bin/busybox cat /sys/class/dmi/id/product_uuid /sys/class/dmi/id/product_serial\n")
    line.wait(b"DONE")
    assert f"{node.machine_uuid}\r\nwalt-node-{node.id}\r\n".encode() in line.seen


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


@pytest.mark.parametrize("kind", ["process", "container", "stub"], indirect=True)
@pytest.mark.parametrize(
    ("how", "ending"),
    [
        (lambda vm, line: line.type(b"reboot\n"), endings.GUEST_REBOOTED),
        (lambda vm, line: line.type(b"poweroff\n"), endings.GUEST_POWERED_OFF),
        (lambda vm, line: vm._signal(signal.SIGKILL), endings.CRASHED),
        (lambda vm, line: vm._signal(signal.SIGTERM), endings.ending("host-signal")),
    ],
    ids=["reboot", "poweroff", "kill-9", "terminate"],
)
def test_its_end_is_noticed_and_explained(start, line, how, ending):
    vm, told = start(), threading.Event()
    vm.watch(told.set)
    line.wait(b"READY")
    assert not vm.ending
    how(vm, line)
    assert told.wait(10) and vm.ending == ending


def test_fault_30_a_machine_whose_processor_hangs_is_ended_by_force(start, line):
    vm = start()
    vm.watch(lambda: None)
    line.wait(b"READY")
    os.kill(vm.pid, signal.SIGSTOP)
    began = time.monotonic()
    vm.end()
    assert vm.ending == endings.CRASHED and time.monotonic() - began < 12


@pytest.mark.parametrize("kind", ["process", "container", "stub"], indirect=True)
def test_another_process_adopts_it(start, launcher, kind, folder, line):
    """The starter is killed: the machine runs on, its successor finds it, and learns how it ends."""
    starter = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {os.getcwd()!r})
        from pathlib import Path
        from tests.system.qemu.rig import launcher_of
        vm = launcher_of({kind!r}, Path({str(folder)!r}), "", {PROJECT!r}).adopt({NODE})
        print(vm.pid, flush=True)
        vm.watch(lambda: print(vm.ending and vm.ending.sentence, flush=True))
        sys.stdin.read()
    """)
    first = start()
    if first._monitor is not None:
        first._monitor.close()  # a monitor serves one client at a time
    line.wait(b"READY")
    other = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and int(other.stdout.readline()) == first.pid
    other.kill()
    other.communicate()
    assert kind == "stub" or Path(f"/proc/{first.pid}").exists()
    again = launcher.adopt(NODE)
    assert again is not None and again.pid == first.pid
    told = threading.Event()
    again.watch(told.set)
    line.type(b"reboot\n")
    assert told.wait(10) and again.ending == endings.GUEST_REBOOTED
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
        assert told.wait(15) and vm.ending == endings.CRASHED
    assert docker("ps", "--all", "--quiet", "--filter", f"label=walt.instance={PROJECT}") == ""


def test_what_the_engine_lacks_is_said(world, folder):
    folders = VmFolders(folder / "run", UIDS)
    with pytest.raises(Failed, match=f"vmrunner of compose project {PROJECT} is not among"):
        QemuContainers(BINARY, folders, served(folder, DockerVms(IMAGE, PROJECT, UIDS))).version()
    with pytest.raises(Failed, match="[Nn]o such image: .*walt-none"):
        QemuContainers(BINARY, folders, served(folder, DockerVms("walt-none", PROJECT, UIDS, world))).version()


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
    monkeypatch.setattr(command_line, "_machine", lambda accelerator: ["-accel", "nonsense"])
    with pytest.raises(Failed, match="qemu does not start: .*invalid accelerator nonsense"):
        start()
    assert launcher.known() == set()


def test_fault_26_accelerator_is_found_by_booting_and_remembered(kernel, folder, launcher, kind):
    memory = folder / f"{kind}.json"
    chooser = Accelerator("auto", launcher, memory)
    began = time.monotonic()
    choice = chooser.choose(kernel)
    assert time.monotonic() - began < 12
    assert choice.name in (command_line.KVM, command_line.TCG) and choice.reason
    assert Accelerator("auto", launcher, memory).known() == choice
    if not Path("/dev/kvm").exists():
        assert choice.name == command_line.TCG


@pytest.mark.parametrize("kind", ["process", "container", "stub"], indirect=True)
def test_it_is_told_to_end_and_nothing_is_left(start, launcher, kind, line):
    vm, told = start(), threading.Event()
    vm.watch(told.set)
    line.wait(b"READY")
    line.type(b"hello\n")
    line.wait(b"GOT hello")
    usage = vm.usage()
    assert usage is not None and (usage.memory_bytes > 2**20 or kind == "stub")
    vm.end()
    assert told.wait(5) and vm.ending == endings.QEMU_QUIT and vm.usage() is None
    assert launcher.adopt(NODE) is None and launcher.known() <= {NODE}
    launcher.forget(NODE)
    assert launcher.known() == set()
