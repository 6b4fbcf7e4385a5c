"""The /persist folders, one per node and owner, kept until the node is removed; and what nodes may mount.

The exports are a file that the process of the NFS server watches (`ganesha.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

from services.bootserver.nfs import exports
from services.bootserver.nfs.exports import Exports
from services.kit.files import write_atomically
from services.kit.subprocesses import run
from walt.contracts import names, serialization

REMOVAL_LIMIT_S = 600


def exports_file(state: Path) -> Path:
    """Written by bootserver, read by the process of the NFS server. state: STATE_DIR/bootserver."""
    return state / "exports.json"


def persist_root(state: Path) -> Path:
    return state / "persist"


def load_exports(path: Path) -> Exports:
    try:
        return serialization.load(Exports, json.loads(path.read_text()))
    except FileNotFoundError:
        return Exports()


class PersistStore:
    def __init__(self, state: Path) -> None:
        self._root = persist_root(state)
        self._exports = exports_file(state)

    def grant(self, node_id: int, owner: str, ip: str) -> None:
        """From now on this address, and no other, may mount the folder of this node and owner."""
        self._folder(node_id, owner).mkdir(parents=True, exist_ok=True)
        self._root.chmod(0o700)  # users of the server must not reach the files of nodes
        self._put(exports.granted(load_exports(self._exports), node_id, owner, ip))

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
        """{owner: bytes} of the owners, present or former, who have files there."""
        folders = sorted((self._root / str(node_id)).glob("*"))
        return {folder.name: _bytes_below(folder) for folder in folders if any(folder.iterdir())}

    def known(self) -> set[int]:
        return {int(path.name) for path in self._root.glob("[0-9]*")}

    def forget(self, node_id: int) -> None:
        self._put(exports.forgotten(load_exports(self._exports), node_id))
        run(["rm", "-rf", str(self._root / str(node_id))], timeout=REMOVAL_LIMIT_S)

    def _folder(self, node_id: int, owner: str) -> Path:
        return exports.folder(self._root, node_id, names.check_user_name(owner))

    def _put(self, new: Exports) -> None:
        if new != load_exports(self._exports):
            write_atomically(self._exports, json.dumps(serialization.dump(new)))


def _bytes_below(folder: Path) -> int:
    return int(run(["du", "--summarize", "--block-size=1", str(folder)]).split()[0])
