"""The initrd: which modules of a kernel it needs, and its bytes (cpio archive, newc format). Pure.

Not compressed: an emulated CPU takes longer to unpack it than the emulator to load it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "ext4", "nfsv4", "overlay")
# Of wired interfaces that physical machines have; each where the kernel has it, loaded by a machine that has no other.
DRIVERS = (
    *("e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "ice", "r8169", "realtek", "tg3", "bnx2", "bnx2x", "bnxt_en"),
    *("atlantic", "alx", "atl1c", "sky2", "forcedeth", "8139cp", "8139too", "pcnet32", "vmxnet3"),
)
APPLETS = (
    *("sh", "mount", "mkdir", "cat", "modprobe", "readlink", "ip", "ifconfig", "sleep"),
    *("reboot", "head", "wget", "tar", "hostname", "rm", "switch_root", "umount", "timeout"),
    *("mv", "sync", "df", "touch", "ls", "tail", "rmdir", "dd", "sha256sum"),
)
FOLDERS = ("bin", "dev", "disk", "etc", "image", "proc", "ram", "root", "sys", "tmp")


@dataclass(frozen=True)
class Entry:
    """content: bytes of a file, or the target of a symbolic link. device: (major, minor) of a character device."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(path: str) -> Entry:
    return Entry(path, stat.S_IFDIR | 0o755)


def file(path: str, content: bytes, executable: bool = False) -> Entry:
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), content)


def link(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


@dataclass(frozen=True)
class Modules:
    """load: names for modprobe; first: those that they, and then the drivers, want loaded before (modules.softdep), where
    they can be; lines: their part, and that of the drivers, of modules.dep; files: what those lines speak of; aliases:
    the drivers' part of modules.alias."""

    load: tuple[str, ...]
    lines: tuple[str, ...]
    files: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    first_of_drivers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """What depmod(8) has found out of a kernel's modules: the texts of modules.dep, .builtin, .alias and .softdep."""

    dependencies: str
    builtin: str
    aliases: str = ""
    soft: str = ""


def resolve(wanted: Sequence[str], index: Index) -> Modules:
    """The modules of the kernel that are not built in, with all they need; LookupError names a missing one. With them
    come those of DRIVERS that are there."""
    lines = (line.partition(":") for line in index.dependencies.splitlines())
    needs = {name: needed.split() for name, _, needed in lines}
    paths = {module_name(path): path for path in needs}
    inside = {module_name(path) for path in index.builtin.split()}
    missing = [name for name in wanted if name not in paths and name not in inside]
    if missing:
        raise LookupError(f"the kernel has no module {', '.join(missing)}")

    def with_needs(names: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(path for name in names for path in (*needs[paths[name]], paths[name])))

    soft = _soft(index)

    def first(names: Iterable[str]) -> tuple[str, ...]:
        before = (one for path in with_needs(names) for one in soft.get(module_name(path), ()))
        return tuple(name for name in dict.fromkeys(before) if name in paths)

    load = tuple(name for name in wanted if name in paths)
    drivers = tuple(name for name in DRIVERS if name in paths)
    files = with_needs((*first(load), *load, *first(drivers), *drivers))
    return Modules(
        load=load,
        lines=tuple(f"{path}: {' '.join(needs[path])}".rstrip() for path in files),
        files=tuple(files),
        aliases=tuple(line for line in index.aliases.splitlines() if line.rpartition(" ")[2] in drivers),
        first=first(load),
        first_of_drivers=first(drivers),
    )


def _soft(index: Index) -> dict[str, list[str]]:
    """{module: those that it wants loaded before it}, as in "softdep ext4 pre: crc32c post: x"; by name and by alias."""
    wants: dict[str, list[str]] = {}
    for line in index.soft.splitlines():
        words = line.partition(" post:")[0].replace("-", "_").split()
        if words[:1] == ["softdep"] and words[2:3] == ["pre:"]:
            wants.setdefault(words[1], []).extend(words[3:])
    bearers: dict[str, list[str]] = {}
    for line in index.aliases.splitlines():
        kind, _, alias_of = line.replace("-", "_").partition(" ")
        if kind == "alias":
            alias, _, module = alias_of.rpartition(" ")
            bearers.setdefault(alias, []).append(module)
    return {
        module: [bearer for name in names for bearer in (name, *bearers.get(name, ()))]
        for module, names in wants.items()
    }


def module_name(path: str) -> str:
    return PurePosixPath(path).name.partition(".ko")[0].replace("-", "_")


def contents(
    version: str, modules: Modules, module_files: dict[str, bytes], busybox: bytes, init: bytes
) -> list[Entry]:
    """Everything in the initrd of this kernel version."""
    home = f"lib/modules/{version}"
    parents = {str(parent) for path in modules.files for parent in PurePosixPath(home, path).parents} - {"."}
    return [
        *(folder(path) for path in sorted({*FOLDERS, *parents})),
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        file("init", init, executable=True),
        file("bin/busybox", busybox, executable=True),
        *(link(f"bin/{applet}", "busybox") for applet in APPLETS),
        file("etc/modules", " ".join(modules.load).encode()),
        file("etc/modules-first", " ".join(modules.first).encode()),
        file("etc/drivers-first", " ".join(modules.first_of_drivers).encode()),
        file(f"{home}/modules.dep", "".join(f"{line}\n" for line in modules.lines).encode()),
        file(f"{home}/modules.alias", "".join(f"{line}\n" for line in modules.aliases).encode()),
        *(file(f"{home}/{path}", module_files[path]) for path in modules.files),
    ]


def archive(entries: Iterable[Entry]) -> bytes:
    """The same entries give the same bytes: inode numbers count up, times are 0, all belongs to root."""
    records = [_record(number, entry) for number, entry in enumerate(entries, 1)]
    return b"".join([*records, _record(0, Entry("TRAILER!!!", 0))])


def _record(inode: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    return _padded(header + name) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
