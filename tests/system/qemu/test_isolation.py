"""Two VMs of one host: what a qemu that is taken over can do to the other, tried as its user."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.netemu.kernel.taps import persistent_tap
from services.vmrunner.qemu.vm import Vm
from tests.system.qemu.rig import NODE, ROOT, SMALL, UID
from walt.contracts.errors import Failed

OTHER = NODE + 1
TAP = f"wq{os.getpid() % 1_000_000}"


@pytest.fixture
def neighbour(start, launcher) -> Iterator[Vm]:
    vm = start(replace(SMALL, id=OTHER, name="other"))
    vm.watch(lambda: None)
    yield vm
    vm.end()
    launcher.forget(OTHER)


def intruder(*arguments: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tests.system.qemu.intruder", *map(str, arguments)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def uid_of(vm: Vm) -> int:
    lines = Path(f"/proc/{vm.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Uid:")))


def test_fault_s25_one_vm_reaches_nothing_of_another(start, neighbour, folder, line):
    """Not its process, memory, descriptors, sockets, taps, disks nor line; but its own process, so the attempts are
    ones that can succeed."""
    vm = start()
    assert uid_of(vm) == UID and uid_of(neighbour) == UID + 1
    line.wait(b"READY", times=2)
    run = folder / "run" / str(OTHER)
    with tempfile.NamedTemporaryFile(dir=folder) as disk, contextlib.ExitStack() as taps:
        with persistent_tap(TAP):
            pass
        taps.callback(subprocess.run, ["ip", "tuntap", "del", TAP, "mode", "tap"], check=True)
        paths = [disk.name, run, run / "qmp.sock", run / "pid", *vars(line.line).values()]
        with intruder("attack", UID, vm.pid, neighbour.pid, TAP, *paths) as attack:
            succeeded, works_on_itself = json.loads(attack.communicate()[0])
    assert (succeeded, works_on_itself) == ([], True)
    assert neighbour.ending is None and Path(f"/proc/{neighbour.pid}").exists()


@pytest.mark.parametrize("kind", ["container"])
def test_the_files_of_a_vm_that_starts_go_to_its_own_user_only(start, kind):
    """The socket through which a container gets its files is in a network that all share."""
    with intruder("steal", UID + 1) as thief:
        assert thief.stdout is not None and thief.stdout.readline() == "ready\n"
        with contextlib.suppress(Failed):  # it may be kept from starting, but loses nothing
            start()
        assert "files 1" not in thief.stdout.read().replace("files 0", "")
