"""/persist by node and owner account, kept until the node is removed; and which machine has which disk.

That of a physical machine is a disk, NODE/OWNER~ACCOUNT.raw, which `aoe_server.py` serves. Folders, NODE/OWNER~ACCOUNT,
are of versions before: a machine's becomes the first content of its disk at its next boot, a virtual node's is dropped
when vmrunner has copied it. Versions before those named a folder OWNER: it goes to the account that has this name when
this version first sees it, and to no later one (OWNER~, which nobody opens, where there is none).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from services.bootserver.persist import disk_exports, export_files
from services.bootserver.persist.disk_exports import DiskExports
from services.kit import persist_disk
from services.kit.files import remove_tree
from services.kit.subprocesses import run
from walt.contracts import names
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Owner

SUFFIX = ".raw"
FORMER_EXPORTS = "exports.json"  # of the NFS server of versions before


def folder_name(owner: Owner) -> str:
    """By the name alone where `nodes` is of the version before."""
    name = names.check_user_name(owner.name)
    if not owner.account:
        return name
    if not owner.account.isalnum():
        raise InvalidRequest(f"'{owner.account}' is not the id of an account; allowed: letters and digits")
    return f"{name}~{owner.account}"


class PersistStore:
    """state: STATE_DIR/bootserver."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._granting: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)  # by node
        self._root = export_files.disks(state)
        (state / FORMER_EXPORTS).unlink(missing_ok=True)

    def grant(self, node_id: int, owner: Owner, mac: str, size_bytes: int) -> None:
        """From now on the machine of this MAC address, and no other, has the disk of this node and owner. size_bytes:
        of a new one."""
        with self._granting[node_id]:  # a machine asks again while its disk is being made
            self._grant(node_id, owner, mac, size_bytes)

    def _grant(self, node_id: int, owner: Owner, mac: str, size_bytes: int) -> None:
        self._bind(node_id, owner)
        folder = self._folder(node_id, owner)
        disk = folder.with_name(f"{folder.name}{SUFFIX}")
        self._root.mkdir(parents=True, exist_ok=True)
        self._root.chmod(0o700)  # users of the server must not reach the files of nodes
        if not disk.exists():
            persist_disk.make(disk, size_bytes, folder if folder.is_dir() else None)
        remove_tree(folder)
        exports = disk_exports.granted(self._exports(), node_id, str(disk.relative_to(self._root)), mac)
        (export,) = (one for one in exports.all if one.node_id == node_id and one.mac)
        os.chown(disk, export.uid, 0)
        disk.chmod(0o660)  # the disk server opens it as root's group, and has no right to more
        self._put(exports)

    def device(self, node_id: int) -> str:
        """Of its present disk, as its kernel names it; "" when it has none."""
        return next((one.device for one in self._exports().all if one.node_id == node_id and one.mac), "")

    def folder_of(self, node_id: int, owner: Owner) -> str:
        """Where the owner's files of this node are, below the folder of all; "" when there are none."""
        self._bind(node_id, owner)
        folder = self._folder(node_id, owner)
        has_files = folder.is_dir() and any(folder.iterdir())
        return str(folder.relative_to(self._root)) if has_files else ""

    def drop(self, node_id: int, owner: Owner) -> None:
        remove_tree(self._folder(node_id, owner))

    def unbound(self) -> set[str]:
        """Names of owners whose folders are of no account yet."""
        return {folder.name for folder in self._unbound()}

    def bind_all(self, present: Iterable[Owner]) -> None:
        """Give each such folder to the present account of its name, or set it aside."""
        accounts = {owner.name: owner for owner in present}
        for folder in self._unbound():
            owner = accounts.get(folder.name, Owner(folder.name))
            self._bind(int(folder.parent.name), owner, folder_name(owner) if owner.account else f"{owner.name}~")

    def _unbound(self) -> list[Path]:
        return [folder for folder in self._root.glob("[0-9]*/[!.]*") if "~" not in folder.name]

    def _bind(self, node_id: int, owner: Owner, new_name: str = "") -> None:
        old, new = self._root / str(node_id) / owner.name, new_name or folder_name(owner)
        with contextlib.suppress(FileNotFoundError):
            if owner.name != new and not old.with_name(new).exists():
                old.rename(old.with_name(new))

    def revoke(self, node_id: int) -> None:
        self._put(disk_exports.revoked(self._exports(), node_id))

    def bytes_used(self, node_id: int) -> dict[str, int]:
        """{owner: bytes on the server} of the owners, present or former, who have a disk or a folder with files; of two
        accounts that had one name, together. Nobody looks into a disk: one that was ever used may hold files."""
        used = Counter[str]()
        for path in sorted((self._root / str(node_id)).glob("[!.]*")):
            if path.suffix == SUFFIX or any(path.iterdir()):
                used[path.name.partition("~")[0]] += _bytes_below(path)
        return dict(used)

    def known(self) -> set[int]:
        return {int(path.name) for path in self._root.glob("[0-9]*")}

    def forget(self, node_id: int) -> None:
        self._put(disk_exports.forgotten(self._exports(), node_id))
        remove_tree(self._root / str(node_id))

    def _folder(self, node_id: int, owner: Owner) -> Path:
        return self._root / str(node_id) / folder_name(owner)

    def _exports(self) -> DiskExports:
        return export_files.load_exports(self._state)

    def _put(self, new: DiskExports) -> None:
        if new != self._exports():
            export_files.store_exports(self._state, new)


def _bytes_below(path: Path) -> int:
    return int(run(["du", "--summarize", "--block-size=1", str(path)]).split()[0])
