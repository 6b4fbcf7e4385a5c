"""The /persist folders, one per node and owner account, kept until the node is removed; and what nodes may mount.

Physical nodes mount theirs. Those of virtual nodes are of versions before, and are dropped when vmrunner has copied
them to a disk. A folder is named OWNER~ACCOUNT. Versions before named it OWNER: it goes to the account that has this
name when this version first sees it, and to no later one (OWNER~, which nobody opens, where there is none). One that is
mounted waits for that until the next boot of its node.

The exports are a file that the process of the NFS server watches (`ganesha.py`).
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from services.bootserver.nfs import exports
from services.bootserver.nfs.exports import Exports
from services.kit.files import remove_tree, write_atomically
from services.kit.subprocesses import run
from walt.contracts import names, serialization
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Owner

REMOVAL_LIMIT_S = 600


def exports_file(state: Path) -> Path:
    """Written by bootserver, read by the process of the NFS server. state: STATE_DIR/bootserver."""
    return state / "exports.json"


def persist_root(state: Path) -> Path:
    return state / "persist"


def folder_name(owner: Owner) -> str:
    """By the name alone where `nodes` is of the version before."""
    name = names.check_user_name(owner.name)
    if not owner.account:
        return name
    if not owner.account.isalnum():
        raise InvalidRequest(f"'{owner.account}' is not the id of an account; allowed: letters and digits")
    return f"{name}~{owner.account}"


def load_exports(path: Path) -> Exports:
    try:
        return serialization.load(Exports, json.loads(path.read_text()))
    except FileNotFoundError:
        return Exports()


class PersistStore:
    def __init__(self, state: Path) -> None:
        self._root = persist_root(state)
        self._exports = exports_file(state)

    def grant(self, node_id: int, owner: Owner, ip: str) -> None:
        """From now on this address, and no other, may mount the folder of this node and owner."""
        self._bind(node_id, owner)
        self._folder(node_id, owner).mkdir(parents=True, exist_ok=True)
        self._root.chmod(0o700)  # users of the server must not reach the files of nodes
        self._put(exports.granted(load_exports(self._exports), node_id, folder_name(owner), ip))

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
        mounted = {(str(one.node_id), one.owner) for one in load_exports(self._exports).all if one.ip}
        folders = [folder for folder in self._root.glob("[0-9]*/*") if "~" not in folder.name]
        return [folder for folder in folders if (folder.parent.name, folder.name) not in mounted]

    def _bind(self, node_id: int, owner: Owner, new_name: str = "") -> None:
        old, new = self._root / str(node_id) / owner.name, new_name or folder_name(owner)
        with contextlib.suppress(FileNotFoundError):
            if owner.name != new and not old.with_name(new).exists():
                old.rename(old.with_name(new))

    def grant_image(self, node_id: int, folder: str, ip: str) -> None:
        """From now on this node may mount that image, and no other."""
        self._put(exports.image_granted(load_exports(self._exports), node_id, folder, ip))

    def image_paths(self) -> list[str]:
        """NFS paths of the images that nodes may mount."""
        return [exports.image_path(one.folder) for one in load_exports(self._exports).images]

    def revoke_image(self, node_id: int) -> None:
        self._put(exports.image_revoked(load_exports(self._exports), node_id))

    def grant_own_root(self, node_id: int, mac: str, folder: str, ip: str) -> None:
        """Also exports the image at the path that an image's own boot script mounts (upstream's layout)."""
        self._put(exports.own_root_granted(load_exports(self._exports), node_id, mac, folder, ip))

    def revoke_own_root(self, node_id: int) -> None:
        self._put(exports.own_root_revoked(load_exports(self._exports), node_id))

    def revoke(self, node_id: int) -> None:
        self._put(exports.revoked(load_exports(self._exports), node_id))

    def bytes_used(self, node_id: int) -> dict[str, int]:
        """{owner: bytes} of the owners, present or former, who have files there; of two accounts that had one name,
        together."""
        folders = sorted((self._root / str(node_id)).glob("*"))
        used = Counter[str]()
        for folder in folders:
            if any(folder.iterdir()):
                used[folder.name.partition("~")[0]] += _bytes_below(folder)
        return dict(used)

    def known(self) -> set[int]:
        return {int(path.name) for path in self._root.glob("[0-9]*")}

    def forget(self, node_id: int) -> None:
        self._put(exports.forgotten(load_exports(self._exports), node_id))
        run(["rm", "-rf", str(self._root / str(node_id))], timeout=REMOVAL_LIMIT_S)

    def _folder(self, node_id: int, owner: Owner) -> Path:
        return exports.folder(self._root, node_id, folder_name(owner))

    def _put(self, new: Exports) -> None:
        if new != load_exports(self._exports):
            write_atomically(self._exports, json.dumps(serialization.dump(new)))


def _bytes_below(folder: Path) -> int:
    return int(run(["du", "--summarize", "--block-size=1", str(folder)]).split()[0])
