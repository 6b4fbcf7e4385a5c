"""Who may mount which image and which /persist, and the configuration of NFS-Ganesha. Pure.

A node reads the image that it boots, and reads and writes the folder of its present owner, from its own address only.
Ganesha cannot give an export another path, and file handles hold the number of their export: so a folder keeps its
number, an image until no node has it, a /persist until its node is removed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

IMAGES_ROOT = "/images"  # pseudo paths: /images/FOLDER
PERSIST_ROOT = "/persist"  # /persist/NODE_ID/OWNER
OWN_ROOT = "/var/lib/walt/nodes/{mac}/fs"
FIRST_ID, LAST_ID = 2, 65_535


@dataclass(frozen=True)
class Export:
    """A /persist folder. id: ganesha's Export_Id. ip: of the node that may mount it, "" for none."""

    id: int
    node_id: int
    owner: str
    ip: str


@dataclass(frozen=True)
class NfsClient:
    """A node that may mount an image."""

    node_id: int
    ip: str


@dataclass(frozen=True)
class ImageExport:
    """An image that nodes boot."""

    id: int
    folder: str
    clients: tuple[NfsClient, ...]


@dataclass(frozen=True)
class OwnRoot:
    """The image of a node that boots by the image's own script, at the path that upstream's scripts mount."""

    id: int
    node_id: int
    mac: str
    folder: str
    ip: str


@dataclass(frozen=True)
class Exports:
    """newest_id: of the last new export. Numbers are reused as late as can be: ganesha may not have seen the end of an
    export when the next one begins."""

    newest_id: int = FIRST_ID - 1
    all: tuple[Export, ...] = ()
    images: tuple[ImageExport, ...] = ()
    own_roots: tuple[OwnRoot, ...] = ()


def image_granted(exports: Exports, node_id: int, folder: str, ip: str) -> Exports:
    """Each node, and each address, has access to exactly one image at a time."""
    client = NfsClient(node_id, ip)
    if any(one.folder == folder and client in one.clients for one in exports.images):
        return exports
    others = _without(exports, lambda one: one.node_id == node_id or one.ip == ip, keep=folder)
    same = next((one for one in others.images if one.folder == folder), None)
    if same is None:
        new_id = _next_id(others)
        return replace(others, newest_id=new_id, images=(*others.images, ImageExport(new_id, folder, (client,))))
    with_it = replace(same, clients=(*same.clients, client))
    return replace(others, images=tuple(with_it if one is same else one for one in others.images))


def image_revoked(exports: Exports, node_id: int) -> Exports:
    return _without(exports, lambda one: one.node_id == node_id)


def _without(exports: Exports, leaves: Callable[[NfsClient], bool], keep: str = "") -> Exports:
    """keep: folder of an export that stays even without clients."""
    left = [replace(one, clients=tuple(c for c in one.clients if not leaves(c))) for one in exports.images]
    return replace(exports, images=tuple(one for one in left if one.clients or one.folder == keep))


def own_root_granted(exports: Exports, node_id: int, mac: str, folder: str, ip: str) -> Exports:
    wanted = (node_id, mac, folder, ip)
    if any((one.node_id, one.mac, one.folder, one.ip) == wanted for one in exports.own_roots):
        return exports
    others = tuple(one for one in exports.own_roots if node_id != one.node_id and ip != one.ip)
    new_id = _next_id(exports)
    return replace(exports, newest_id=new_id, own_roots=(*others, OwnRoot(new_id, *wanted)))


def own_root_revoked(exports: Exports, node_id: int) -> Exports:
    return replace(exports, own_roots=tuple(one for one in exports.own_roots if one.node_id != node_id))


def granted(exports: Exports, node_id: int, owner: str, ip: str) -> Exports:
    """Each node, and each address, has access to one folder: an address loses that of the node that had it before."""
    others = [replace(one, ip="") if one.node_id == node_id or one.ip == ip else one for one in exports.all]
    same = next((one for one in others if (one.node_id, one.owner) == (node_id, owner)), None)
    if same is not None:
        return replace(exports, all=tuple(replace(one, ip=ip) if one is same else one for one in others))
    new_id = _next_id(exports)
    return replace(exports, newest_id=new_id, all=(*others, Export(new_id, node_id, owner, ip)))


def revoked(exports: Exports, node_id: int) -> Exports:
    return replace(exports, all=tuple(replace(one, ip="") if one.node_id == node_id else one for one in exports.all))


def forgotten(exports: Exports, node_id: int) -> Exports:
    return replace(exports, all=tuple(one for one in exports.all if one.node_id != node_id))


def image_path(folder: str) -> str:
    return f"{IMAGES_ROOT}/{folder}"


def pseudo_path(node_id: int, owner: str) -> str:
    return f"{PERSIST_ROOT}/{node_id}/{owner}"


def folder(root: Path, node_id: int, owner: str) -> Path:
    return root / str(node_id) / owner


def configuration(images: Path, recovery: Path, persist: Path, server: str, exports: Exports) -> str:
    """ganesha.conf. server: bootserver's own address, from which `nfs_probe.py` looks the images up."""
    blocks = []
    for image in exports.images:
        ips = ", ".join([server, *(client.ip for client in image.clients)])
        path, pseudo = images / image.folder, image_path(image.folder)
        blocks.append(_EXPORT.format(id=image.id, folder=path, pseudo=pseudo, ips=ips, access="RO"))
    for root in exports.own_roots:
        pseudo = OWN_ROOT.format(mac=root.mac)
        blocks.append(_EXPORT.format(id=root.id, folder=images / root.folder, pseudo=pseudo, ips=root.ip, access="RO"))
    for one in exports.all:
        if one.ip:
            path, pseudo = folder(persist, one.node_id, one.owner), pseudo_path(one.node_id, one.owner)
            blocks.append(_EXPORT.format(id=one.id, folder=path, pseudo=pseudo, ips=one.ip, access="RW"))
    return _SERVER.format(recovery=recovery) + "".join(blocks)


def _next_id(exports: Exports) -> int:
    taken = {number for kind in (exports.all, exports.images, exports.own_roots) for number in (one.id for one in kind)}
    later, all_ids = range(exports.newest_id + 1, LAST_ID + 1), range(FIRST_ID, LAST_ID + 1)
    return next(number for number in itertools.chain(later, all_ids) if number not in taken)


# NFSv4 only: one port, and no rpcbind, whose socket and port several instances would share. Without a grace period:
# after a restart each node continues at once and takes its locks again (boot_script.py); no two nodes share a file that
# one of them can write.
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
"""
_EXPORT = """\
EXPORT {{
    Export_Id = {id};
    Path = "{folder}";
    Pseudo = "{pseudo}";
    Access_Type = None;
    SecType = sys;
    CLIENT {{ Clients = {ips}; Access_Type = {access}; Squash = No_Root_Squash; }}
    FSAL {{ Name = VFS; }}
}}
"""
