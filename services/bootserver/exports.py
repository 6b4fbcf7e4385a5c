"""Who may mount which /persist, and what NFS-Ganesha is told of it. Pure.

A node reads and writes the folder of its present owner, from its own address only. Ganesha cannot give an export
another path, and file handles hold the number of their export: so a folder keeps its number until its node is removed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

IMAGES_ROOT = "/images"  # pseudo path of the export that holds all images
PERSIST_ROOT = "/persist"  # those of the nodes: /persist/NODE_ID/OWNER
IMAGES_ID, LAST_ID = 1, 65_535


@dataclass(frozen=True)
class Export:
    """id: ganesha's Export_Id. ip: who may mount it, "" for nobody."""

    id: int
    node_id: int
    owner: str
    ip: str


@dataclass(frozen=True)
class Exports:
    """newest_id: of the last new export. Numbers are reused as late as can be: ganesha may not have seen the end of an
    export when the next one begins."""

    newest_id: int = IMAGES_ID
    all: tuple[Export, ...] = ()


def granted(exports: Exports, node_id: int, owner: str, ip: str) -> Exports:
    """A node, and an address, opens one folder: an address that was another node's opens nothing of that one."""
    others = [replace(one, ip="") if one.node_id == node_id or one.ip == ip else one for one in exports.all]
    same = next((one for one in others if (one.node_id, one.owner) == (node_id, owner)), None)
    if same is not None:
        return replace(exports, all=tuple(replace(one, ip=ip) if one is same else one for one in others))
    new_id = _next_id(exports)
    return Exports(new_id, (*others, Export(new_id, node_id, owner, ip)))


def revoked(exports: Exports, node_id: int) -> Exports:
    return replace(exports, all=tuple(replace(one, ip="") if one.node_id == node_id else one for one in exports.all))


def forgotten(exports: Exports, node_id: int) -> Exports:
    return replace(exports, all=tuple(one for one in exports.all if one.node_id != node_id))


def pseudo_path(node_id: int, owner: str) -> str:
    return f"{PERSIST_ROOT}/{node_id}/{owner}"


def folder(root: Path, node_id: int, owner: str) -> Path:
    return root / str(node_id) / owner


def configuration(images: Path, recovery: Path, persist: Path, exports: Exports) -> str:
    """ganesha.conf."""
    return _SERVER.format(images=images, recovery=recovery, id=IMAGES_ID, pseudo=IMAGES_ROOT) + "".join(
        _PERSIST.format(
            id=one.id,
            folder=folder(persist, one.node_id, one.owner),
            pseudo=pseudo_path(one.node_id, one.owner),
            ip=one.ip,
        )
        for one in exports.all
        if one.ip
    )


def _next_id(exports: Exports) -> int:
    taken = {one.id for one in exports.all}
    later, all_ids = range(exports.newest_id + 1, LAST_ID + 1), range(IMAGES_ID + 1, LAST_ID + 1)
    return next(number for number in itertools.chain(later, all_ids) if number not in taken)


# NFSv4 only: one port, and no rpcbind, whose socket and port several instances would share. Without a grace period:
# after a restart each node goes on at once; no two nodes share a file that one of them can write.
_SERVER = """\
NFS_CORE_PARAM {{
    Protocols = 4;
    Enable_UDP = false;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    fsid_device = true;
}}
NFS_KRB5 {{ Active_krb5 = false; }}
NFSv4 {{
    Graceless = true;
    RecoveryBackend = fs;
    RecoveryRoot = "{recovery}";
    Only_Numeric_Owners = true;
    Minor_Versions = 2;
}}
EXPORT {{
    Export_Id = {id};
    Path = "{images}";
    Pseudo = "{pseudo}";
    Access_Type = RO;
    Squash = No_Root_Squash;
    SecType = sys;
    FSAL {{ Name = VFS; }}
}}
"""
_PERSIST = """\
EXPORT {{
    Export_Id = {id};
    Path = "{folder}";
    Pseudo = "{pseudo}";
    Access_Type = None;
    SecType = sys;
    CLIENT {{ Clients = {ip}; Access_Type = RW; Squash = No_Root_Squash; }}
    FSAL {{ Name = VFS; }}
}}
"""
