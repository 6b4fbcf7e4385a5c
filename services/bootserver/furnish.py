"""`python -m services.bootserver.furnish TREE LENDER`: give a root file system what it lacks to be a node's.

A kernel with its modules, hard links to those of the platform's image LENDER; an init; an ssh server; a few commands.
What is added lies in /usr/lib/walt and stays with the image, which is an image like any other afterwards. Prints a
sentence for each thing.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from services.bootserver import helpers, kernels, rooted
from services.contracts.bootserver import MODEL
from services.contracts.errors import Failed, InvalidRequest
from services.kit.commands import run

PARENT = "usr/lib"
HOME = f"{PARENT}/walt"
GUEST = Path(__file__).parent / "guest"
PROGRAMS = {"busybox": "busybox-static", "dropbear": "dropbear-bin", "dropbearconvert": "dropbear-bin"}
LOADER, OUR_LOADER = b"/lib64/ld-linux-x86-64.so.2\0", f"/{HOME}/ld.so\0".encode()
OWN_SCRIPT = f"boot/{MODEL}/start.ipxe"
FOLDERS = ("dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp")
COMMAND_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin")
# What the platform's own commands need in a node, and what an experiment is poor without.
USEFUL = ("find", "ip", "modprobe", "mount", "ping", "poweroff", "ps", "reboot", "sh", "tar", "umount", "wget", "xargs")
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
class Has:
    """What a tree brings. kernel: version of one that boots here; unusable: {version: why} of others."""

    kernel: str
    unusable: dict[str, str]
    init: bool
    systemd: bool
    ssh_server: bool
    shell: bool


def look(tree: Path) -> Has:
    faults = {one.version: kernels.fault(tree, one) for one in kernels.all_of(tree)}
    init = rooted.resolve(tree, "sbin/init")
    started = any(rooted.is_program(tree, path) for path in ("sbin/openrc", "etc/init.d/rcS"))
    return Has(
        kernel=next((version for version, fault in faults.items() if not fault), ""),
        unusable={version: fault for version, fault in faults.items() if fault},
        # busybox is /sbin/init in container images too, but with nothing for it to start
        init=rooted.is_program(tree, "sbin/init") and (init.name != "busybox" or started),
        systemd=init.name == "systemd",
        ssh_server=any(rooted.is_program(tree, f"usr/sbin/{name}") for name in ("sshd", "dropbear")),
        shell=rooted.is_program(tree, "bin/sh"),
    )


def furnish(tree: Path, lender: Path) -> list[str]:
    check_machine(tree)
    for folder in FOLDERS:
        rooted.make_folder(tree, folder)
    _clear(rooted.make_folder(tree, PARENT) / "walt")
    has = look(tree)
    notes = []
    if rooted.find_file(tree, OWN_SCRIPT) is not None:
        notes.append(f"it boots by its own script, /{OWN_SCRIPT}: what that starts sets the node up")
    if not has.kernel:
        notes.append(_lend_kernel(tree, lender, has))
    if has.init and has.ssh_server:
        return notes
    _add_programs(tree)
    _add_commands(tree, all_of_them=not has.shell)
    if has.systemd:
        notes.append("it has no ssh server: the platform's is added")
        _write(tree, "etc/systemd/system/walt-ssh.service", UNIT)
        wants = rooted.make_folder(tree, "etc/systemd/system/multi-user.target.wants")
        _link(wants / "walt-ssh.service", "../walt-ssh.service")
        return notes
    lacking = "init" if not has.init else "ssh server beside its init"
    server = "and its own ssh server" if has.ssh_server else "and ssh server"
    notes.append(f"it has no {lacking}: it starts with the platform's minimal init {server}")
    _link(rooted.make_folder(tree, "sbin") / "init", f"/{HOME}/init")
    if rooted.find_file(tree, "etc/passwd") is None:
        _write(tree, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        _write(tree, "etc/group", "root:x:0:\n")
    return notes


def check_machine(tree: Path) -> None:
    for path in ("bin/sh", "sbin/init", "bin/busybox", "usr/bin/env"):
        file = rooted.find_file(tree, path)
        if file is None:
            continue
        with open(file, "rb") as content:
            head = content.read(MACHINE_AT + 2)
        machine = int.from_bytes(head[MACHINE_AT:], "little")
        if head.startswith(ELF) and machine not in MACHINES:
            raise InvalidRequest(f"its /{path} is for another processor (ELF machine {machine}); allowed: x86-64")


def _lend_kernel(tree: Path, lender: Path, has: Has) -> str:
    kernel = kernels.find(lender)
    if kernel is None:
        raise Failed("it has no kernel that boots here, and no image of the platform has one to lend")
    boot = rooted.make_folder(tree, "boot")
    home = rooted.make_folder(tree, "lib/modules")
    if not (home / kernel.version).exists():
        run(["cp", "-a", "--link", str(lender / "lib/modules" / kernel.version), str(home)])
    _replace(boot / f"vmlinuz-{kernel.version}")
    os.link(kernel.file, boot / f"vmlinuz-{kernel.version}")
    _write(tree, kernels.LENT, " ".join([kernel.version, *has.unusable]))
    why = "; ".join(f"{version} cannot boot here: {fault}" for version, fault in has.unusable.items())
    return f"it brings no kernel{f' that can be used ({why})' if why else ''}: it boots with the platform's {kernel.version}"


def _add_programs(tree: Path) -> None:
    home = rooted.make_folder(tree, HOME)
    libraries = rooted.make_folder(tree, f"{HOME}/lib")
    for name, package in PROGRAMS.items():
        program = shutil.which(name)
        if program is None:
            raise Failed(f"{name} is not installed on the server (Debian: {package})")
        _replace(home / name)
        content = Path(program).read_bytes().replace(LOADER, OUR_LOADER.ljust(len(LOADER), b"\0"))
        (home / name).write_bytes(content)
        (home / name).chmod(0o755)
    listed = run([LOADER.decode().rstrip("\0"), "--list", str(shutil.which("dropbear"))])
    shutil.copy(LOADER.decode().rstrip("\0"), home / "ld.so")
    for words in (line.split() for line in listed.splitlines()):
        if "=>" in words:
            shutil.copy(words[2], libraries / words[0])
    for name, ours in (("init", "minimal-init"), ("ssh-server", "ssh-server")):
        _replace(home / name)
        shutil.copy(GUEST / ours, home / name)
        (home / name).chmod(0o755)


def _add_commands(tree: Path, all_of_them: bool) -> None:
    applets = run(["busybox", "--list"]).split()
    own = rooted.make_folder(tree, f"{HOME}/bin")
    place = rooted.make_folder(tree, "usr/bin")
    for applet in applets:
        _link(own / applet, f"/{HOME}/busybox")
        wanted = all_of_them or applet in USEFUL
        if wanted and not any(rooted.is_program(tree, f"{folder}/{applet}") for folder in COMMAND_FOLDERS):
            _link(place / applet, f"/{HOME}/busybox")
    if all_of_them:
        _link(rooted.make_folder(tree, "bin") / "sh", f"/{HOME}/busybox")


def _write(tree: Path, path: str, text: str) -> None:
    folder, _, name = path.rpartition("/")
    place = rooted.make_folder(tree, folder) / name
    _replace(place)
    place.write_text(text)


def _link(place: Path, target: str) -> None:
    _replace(place)
    place.symlink_to(target)


def _clear(home: Path) -> None:
    """Ours, and from now on without any link of another's making in it."""
    if home.is_dir() and not home.is_symlink():
        shutil.rmtree(home)
    home.unlink(missing_ok=True)
    home.mkdir()


def _replace(place: Path) -> None:
    """Whatever has that name: a file of it may be a link to another image's."""
    if place.is_dir() and not place.is_symlink():
        raise InvalidRequest(f"/{place.name} of what is to be an image is a folder; allowed: a file, or nothing")
    place.unlink(missing_ok=True)


if __name__ == "__main__":
    tree, lender = map(Path, sys.argv[1:])
    helpers.main(lambda: sys.stdout.writelines(f"{note}\n" for note in furnish(tree, lender)), tree)
