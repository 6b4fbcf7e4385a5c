"""`python -m services.bootserver.workers.make_bootable TREE PLATFORM_TREE`: make a root file system boot.

What it lacks is added: a kernel with its modules, as hard links to those of the platform's image PLATFORM_TREE; an
init; an ssh server; some commands. All of it lies in /usr/lib/walt and stays with the image, which is like any other
afterwards. Prints a sentence about each thing.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from services.bootserver.image_kernel import chroot_paths, kernel_image
from services.bootserver.workers import merge, worker
from services.kit.subprocesses import run
from walt.contracts.bootserver import MODEL
from walt.contracts.errors import Failed, InvalidRequest

PARENT = "usr/lib"
HOME = f"{PARENT}/walt"
GUEST = Path(__file__).parents[1] / "guest"
PROGRAMS = {"busybox": "busybox-static", "dropbear": "dropbear-bin", "dropbearconvert": "dropbear-bin"}
# The ELF interpreter of a program is replaced in place by a shorter path; patchelf would be one more package.
LOADER = "/lib64/ld-linux-x86-64.so.2"
OWN_LOADER = f"/{HOME}/ld.so"
BOOT_SCRIPT = f"boot/{MODEL}/start.ipxe"
FOLDERS = ("dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp")
COMMAND_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin")
# What the platform's own commands need in a node, and what most experiments need.
COMMANDS = (
    *("find", "ip", "modprobe", "mount", "ping", "poweroff", "ps", "reboot", "sh", "tar", "umount", "wget", "xargs"),
)
ELF, MACHINE_AT, MACHINES = b"\x7fELF", 18, (3, 62)  # i386, x86-64

UNIT = f"""\
[Unit]
Description=ssh server of the platform
After=network.target
[Service]
ExecStart=/{HOME}/ssh-server -F
Restart=always
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Inventory:
    """What a tree has. kernel: version of one that boots, or ""; unusable: {version: fault} of the others."""

    kernel: str
    unusable: dict[str, str]
    init: bool
    systemd: bool
    ssh_server: bool
    shell: bool


def inspect(tree: Path) -> Inventory:
    faults = {one.version: kernel_image.fault(tree, one) for one in kernel_image.all_of(tree)}
    init = chroot_paths.resolve(tree, "sbin/init")
    starts_services = any(chroot_paths.is_program(tree, path) for path in ("sbin/openrc", "etc/init.d/rcS"))
    return Inventory(
        kernel=next((version for version, fault in faults.items() if not fault), ""),
        unusable={version: fault for version, fault in faults.items() if fault},
        # container images may have busybox as /sbin/init too, but nothing for it to start
        init=chroot_paths.is_program(tree, "sbin/init") and (init.name != "busybox" or starts_services),
        systemd=init.name == "systemd",
        ssh_server=any(chroot_paths.is_program(tree, f"usr/sbin/{name}") for name in ("sshd", "dropbear")),
        shell=chroot_paths.is_program(tree, "bin/sh"),
    )


def make_bootable(tree: Path, platform_tree: Path) -> list[str]:
    """What was added, a sentence each."""
    check_machine(tree)
    for folder in FOLDERS:
        chroot_paths.make_folder(tree, folder)
    _empty(chroot_paths.make_folder(tree, PARENT) / "walt")
    found = inspect(tree)
    notes = []
    if chroot_paths.find_file(tree, BOOT_SCRIPT) is not None:
        notes.append(f"it boots by its own script, /{BOOT_SCRIPT}, which has to set the node up")
    if not found.kernel:
        notes.append(_lend_kernel(tree, platform_tree, found))
    if found.init and found.ssh_server:
        return notes
    _add_programs(tree)
    _add_commands(tree, every_applet=not found.shell)
    if found.systemd:
        notes.append("it has no ssh server: the platform's is added")
        _write(tree, "etc/systemd/system/walt-ssh.service", UNIT)
        wants = chroot_paths.make_folder(tree, "etc/systemd/system/multi-user.target.wants")
        _link(wants / "walt-ssh.service", "../walt-ssh.service")
        return notes
    lacking = "init" if not found.init else "ssh server beside its init"
    server = "and its own ssh server" if found.ssh_server else "and ssh server"
    notes.append(f"it has no {lacking}: it starts with the platform's minimal init {server}")
    _link(chroot_paths.make_folder(tree, "sbin") / "init", f"/{HOME}/init")
    if chroot_paths.find_file(tree, "etc/passwd") is None:
        _write(tree, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        _write(tree, "etc/group", "root:x:0:\n")
    return notes


def check_machine(tree: Path) -> None:
    for path in ("bin/sh", "sbin/init", "bin/busybox", "usr/bin/env"):
        file = chroot_paths.find_file(tree, path)
        if file is None:
            continue
        with open(file, "rb") as content:
            head = content.read(MACHINE_AT + 2)
        machine = int.from_bytes(head[MACHINE_AT:], "little")
        if head.startswith(ELF) and machine not in MACHINES:
            raise InvalidRequest(f"its /{path} is for another processor (ELF machine {machine}); allowed: x86-64")


def _lend_kernel(tree: Path, platform_tree: Path, found: Inventory) -> str:
    kernel = kernel_image.find(platform_tree)
    if kernel is None:
        raise Failed("it has no kernel that boots here, and the platform has no image with one to lend")
    boot = chroot_paths.make_folder(tree, "boot")
    home = chroot_paths.make_folder(tree, "lib/modules")
    if not (home / kernel.version).exists():
        run(["cp", "-a", "--link", str(platform_tree / "lib/modules" / kernel.version), str(home)])
    _replace(boot / f"vmlinuz-{kernel.version}")
    os.link(kernel.file, boot / f"vmlinuz-{kernel.version}")
    _write(tree, kernel_image.LENT, " ".join([kernel.version, *found.unusable]))
    faults = "; ".join(f"{version} cannot boot here: {fault}" for version, fault in found.unusable.items())
    lacking = f"no kernel that can be used ({faults})" if faults else "no kernel"
    return f"it brings {lacking}: it boots with the platform's {kernel.version}"


def _add_programs(tree: Path) -> None:
    home = chroot_paths.make_folder(tree, HOME)
    libraries = chroot_paths.make_folder(tree, f"{HOME}/lib")
    for name, package in PROGRAMS.items():
        program = shutil.which(name)
        if program is None:
            raise Failed(f"{name} is not installed on the server (Debian: {package})")
        _replace(home / name)
        content = (
            Path(program).read_bytes().replace(os.fsencode(LOADER), OWN_LOADER.encode().ljust(len(str(LOADER)), b"\0"))
        )
        (home / name).write_bytes(content)
        (home / name).chmod(0o755)
    listed = run([LOADER, "--list", str(shutil.which("dropbear"))])
    shutil.copy(LOADER, home / "ld.so")
    for fields in (line.split() for line in listed.splitlines()):
        if "=>" in fields:
            shutil.copy(fields[2], libraries / fields[0])
    for name, source in (("init", "minimal-init"), ("ssh-server", "ssh-server")):
        _replace(home / name)
        shutil.copy(GUEST / source, home / name)
        (home / name).chmod(0o755)


def _add_commands(tree: Path, every_applet: bool) -> None:
    applets = run(["busybox", "--list"]).split()
    own_commands = chroot_paths.make_folder(tree, f"{HOME}/bin")
    commands = chroot_paths.make_folder(tree, "usr/bin")
    for applet in applets:
        _link(own_commands / applet, f"/{HOME}/busybox")
        wanted = every_applet or applet in COMMANDS
        if wanted and not any(chroot_paths.is_program(tree, f"{folder}/{applet}") for folder in COMMAND_FOLDERS):
            _link(commands / applet, f"/{HOME}/busybox")
    if every_applet:
        _link(chroot_paths.make_folder(tree, "bin") / "sh", f"/{HOME}/busybox")


def _write(tree: Path, path: str, text: str) -> None:
    folder, _, name = path.rpartition("/")
    file = chroot_paths.make_folder(tree, folder) / name
    _replace(file)
    file.write_text(text)


def _link(path: Path, target: str) -> None:
    _replace(path)
    path.symlink_to(target)


def _empty(folder: Path) -> None:
    """A new, empty folder in place of what has that path: nothing in it was made by a user."""
    merge.remove(folder)
    folder.mkdir()


def _replace(path: Path) -> None:
    """Removes what has that path: it must not be written to, since it may be a hard link to a file of another image."""
    if merge.is_folder(path):
        raise InvalidRequest(f"/{path.name} of what is to be an image is a folder; allowed: a file, or nothing")
    path.unlink(missing_ok=True)


if __name__ == "__main__":
    tree, platform_tree = map(Path, sys.argv[1:])
    worker.worker_main(lambda: sys.stdout.writelines(f"{note}\n" for note in make_bootable(tree, platform_tree)), tree)
