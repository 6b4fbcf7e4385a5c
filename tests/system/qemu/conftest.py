"""One guest and its line for each test; needs root, qemu and a Linux kernel (WALT_TEST_KERNEL, or the one of Debian's
linux-image-cloud package), and no platform. VMs in containers need a Docker Engine, which builds their image, unless
WALT_VM_IMAGE names one."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.vmrunner.qemu import command_line
from services.vmrunner.qemu.console_writer import LineWriter
from services.vmrunner.qemu.vm import Launcher, PowerOn, Vm
from tests.compose import engine
from tests.conftest import require
from tests.system.qemu.rig import (
    BINARY,
    COMMAND_LINE,
    IMAGE,
    INIT,
    NODE,
    PACKAGE,
    ROOT,
    SMALL,
    SerialLine,
    add_modules,
    docker,
    launcher_of,
    new_world,
)


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


@pytest.fixture
def line(folder: Path) -> Iterator[SerialLine]:
    place = folder / "line"
    place.mkdir()
    made = SerialLine(place)
    yield made
    print(made.seen.decode(errors="replace"))  # shown by pytest when the test fails
    shutil.rmtree(place)


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
    def start(node=None, taps=(), disks=(), by=launcher) -> Vm:
        LineWriter(line.line).write("power-on\n")  # there is no console: it writes to the log
        return by.start(
            PowerOn(
                spec=node or SMALL,
                run=1,
                uid=by.reserve((node or SMALL).id),
                command_line=COMMAND_LINE,
                kernel=kernel,
                initrd=initrd,
                persist=None,
                root=None,
                taps=dict(enumerate(taps, start=2)),
                disks=tuple(disks),
                line=line.line,
                accelerator=command_line.TCG,
                kvm_group=None,
            )
        )

    return start
