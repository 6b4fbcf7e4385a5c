"""The initrd: which modules of a kernel it needs, and its bytes (cpio archive, newc format). Pure.

It is not compressed: an emulated CPU would take longer to unpack it than the emulator takes to load it.
depmod's text indexes are parsed here, and not by `modprobe -d TREE --show-depends`: that needs the binary indexes,
which busybox's depmod does not write, trusts their content, and follows absolute links of the image out of it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from services.bootserver.image_kernel import root_file

MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "loop", "ext4", "overlay")
# Of the wired interfaces of physical machines. Included if the kernel has them; loaded if the usual ones drive no
# interface.
DRIVERS = (
    *("e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "ice", "r8169", "realtek", "tg3", "bnx2", "bnx2x", "bnxt_en"),
    *("atlantic", "alx", "atl1c", "sky2", "forcedeth", "8139cp", "8139too", "pcnet32", "vmxnet3"),
)
NETWORK_DISK = "aoe"  # for /persist of a physical machine; included if the kernel has it
APPLETS = (
    *("sh", "mount", "mkdir", "cat", "modprobe", "readlink", "ip", "ifconfig", "sleep"),
    *("reboot", "head", "wget", "tar", "hostname", "rm", "switch_root", "umount"),
    *("mv", "sync", "df", "touch", "ls", "tail", "rmdir", "dd", "awk", "cp", "grep"),
)
FOLDERS = ("bin", "dev", "disk", "etc", "image", "proc", "ram", "root", "sys", "tmp")


@dataclass(frozen=True)
class Entry:
    """One file of the archive. content: its bytes, or the target of a symbolic link. device: (major, minor) of a
    character device."""

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
    """What the initrd has of a kernel's modules.

    load: names for modprobe.
    lines: of modules.dep, for these and for the drivers.
    files: paths of all modules in those lines, below lib/modules/VERSION.
    aliases: lines of modules.alias, for the drivers.
    first: what modules.softdep asks to load before `load`, if it can be loaded.
    first_of_drivers: the same before the drivers.
    root_format: of the file systems that the root may have, the best that this kernel can mount.
    """

    load: tuple[str, ...]
    lines: tuple[str, ...]
    files: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    first_of_drivers: tuple[str, ...] = ()
    root_format: str = root_file.EROFS


@dataclass(frozen=True)
class Index:
    """depmod(8)'s indexes of a kernel's modules: the texts of modules.dep, .builtin, .alias and .softdep."""

    dependencies: str
    builtin: str
    aliases: str = ""
    soft: str = ""


def resolve(wanted: Sequence[str], index: Index) -> Modules:
    """The wanted modules that are not built into the kernel, those of DRIVERS that it has, and all that these need.
    LookupError names a wanted one that is missing."""
    lines = (line.partition(":") for line in index.dependencies.splitlines())
    needs = {path: needed.split() for path, _, needed in lines}
    paths = {module_name(path): path for path in needs}
    builtin = {module_name(path) for path in index.builtin.split()}
    root_format = root_file.format_of([*paths, *builtin])
    wanted = [*wanted, *([root_file.EROFS] if root_format == root_file.EROFS else [])]
    missing = [name for name in wanted if name not in paths and name not in builtin]
    if missing:
        raise LookupError(f"the kernel has no module {', '.join(missing)}")

    def with_needs(names: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(path for name in names for path in (*needs[paths[name]], paths[name])))

    soft_needs = _soft_needs(index)

    def first(names: Iterable[str]) -> tuple[str, ...]:
        before = (name for path in with_needs(names) for name in soft_needs.get(module_name(path), ()))
        return tuple(name for name in dict.fromkeys(before) if name in paths)

    load = tuple(name for name in wanted if name in paths)
    drivers = tuple(name for name in DRIVERS if name in paths)
    others = (*drivers, NETWORK_DISK) if NETWORK_DISK in paths else drivers
    files = with_needs((*first(load), *load, *first(drivers), *others))
    return Modules(
        load=load,
        lines=tuple(f"{path}: {' '.join(needs[path])}".rstrip() for path in files),
        files=tuple(files),
        aliases=tuple(line for line in index.aliases.splitlines() if line.rpartition(" ")[2] in drivers),
        first=first(load),
        first_of_drivers=first(drivers),
        root_format=root_format,
    )


def _soft_needs(index: Index) -> dict[str, list[str]]:
    """{module: names of those to load before it}, of lines like "softdep ext4 pre: crc32c post: x"; "crc32c" may also
    be an alias, and then stands for every module that has it."""
    needs: dict[str, list[str]] = {}
    for line in index.soft.splitlines():
        fields = line.partition(" post:")[0].replace("-", "_").split()
        if fields[:1] == ["softdep"] and fields[2:3] == ["pre:"]:
            needs.setdefault(fields[1], []).extend(fields[3:])
    modules_of: dict[str, list[str]] = {}
    for line in index.aliases.splitlines():
        kind, _, rest = line.replace("-", "_").partition(" ")
        if kind == "alias":
            alias, _, module = rest.rpartition(" ")
            modules_of.setdefault(alias, []).append(module)
    return {
        module: [one for name in names for one in (name, *modules_of.get(name, ()))] for module, names in needs.items()
    }


def module_name(path: str) -> str:
    return PurePosixPath(path).name.partition(".ko")[0].replace("-", "_")


def contents(
    version: str, modules: Modules, module_files: dict[str, bytes], busybox: bytes, init: bytes
) -> list[Entry]:
    """Everything in the initrd of this kernel version. module_files: content by path, of `modules.files`."""
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
