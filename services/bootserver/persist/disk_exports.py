"""Which physical machine has which disk for /persist, and the server of one. Pure.

A machine has its disk by ATA over Ethernet: of all network disks this one needs no program in the guest, and its kernel
repeats a request until a server answers (aoe_deadsecs), however long that is restarted. (With NBD a write that is under
way fails: Debian's nbd-client does not set NBD_ATTR_DEAD_CONN_TIMEOUT.) vblade answers one MAC address only; a virtual
node's frames of this kind are dropped at its port.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from services.kit.subprocesses import DIE_WITH_PARENT

FIRST_ID, LAST_ID = 1, 65_534  # AoE's shelves; 65535 addresses all
SERVER = "vblade"  # Debian's package of that name
FIRST_UID = 0x78010000  # of the servers' users, after those of VMs: numbers that Debian and systemd give to nobody
_ONE_RIGHT = [f"--{kind}=-all,+net_raw" for kind in ("inh-caps", "ambient-caps", "bounding-set")]


@dataclass(frozen=True)
class DiskExport:
    """id: AoE's shelf. file: below the folder of all. mac: of the machine that may use it, "" for none."""

    id: int
    node_id: int
    file: str
    mac: str

    @property
    def device(self) -> str:
        """As the kernel of the machine names it, in /dev/etherd."""
        return f"e{self.id}.0"

    @property
    def uid(self) -> int:
        """Of the user whose its file is, and who serves it."""
        return FIRST_UID + self.id


@dataclass(frozen=True)
class DiskExports:
    """newest_id: of the last new export. Numbers are used again as late as can be: a machine that still runs with a
    disk which it has lost must not write to another's."""

    newest_id: int = FIRST_ID - 1
    all: tuple[DiskExport, ...] = ()


def granted(exports: DiskExports, node_id: int, file: str, mac: str) -> DiskExports:
    """Each node, and each MAC address, has one disk at a time; another owner's has another number."""
    others = tuple(replace(one, mac="") if one.node_id == node_id or one.mac == mac else one for one in exports.all)
    same = next((one for one in others if (one.node_id, one.file) == (node_id, file)), None)
    if same is not None:
        return replace(exports, all=tuple(replace(one, mac=mac) if one.id == same.id else one for one in others))
    new_id = _next_id(exports)
    return DiskExports(new_id, (*others, DiskExport(new_id, node_id, file, mac)))


def revoked(exports: DiskExports, node_id: int) -> DiskExports:
    return replace(exports, all=tuple(replace(one, mac="") if one.node_id == node_id else one for one in exports.all))


def forgotten(exports: DiskExports, node_id: int) -> DiskExports:
    return replace(exports, all=tuple(one for one in exports.all if one.node_id != node_id))


def server_argv(export: DiskExport, interface: str, file: int) -> list[str]:
    """file: open in the process. It ends with its parent, and has a user of its own with one right, to send raw frames.
    -s: what a machine was told to be written is on the server's disk."""
    user = [f"--reuid={export.uid}", f"--regid={export.uid}", "--clear-groups", "--no-new-privs", *_ONE_RIGHT]
    server = [SERVER, "-s", "-m", export.mac, str(export.id), "0", interface, f"/proc/self/fd/{file}"]
    return [*DIE_WITH_PARENT, *user, *server]


def _next_id(exports: DiskExports) -> int:
    taken = {one.id for one in exports.all}
    later, all_ids = range(exports.newest_id + 1, LAST_ID + 1), range(FIRST_ID, LAST_ID + 1)
    return next(number for number in itertools.chain(later, all_ids) if number not in taken)
