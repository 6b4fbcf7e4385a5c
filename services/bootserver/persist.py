"""The /persist folders: one per node and owner, kept until the node is removed. What nodes with a boot may mount.

What is exported is one file, which the NFS server's process watches (`nfs.py`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from services.bootserver import exports
from services.bootserver.exports import Exports
from services.contracts import wire
from services.contracts.errors import InvalidRequest
from services.kit.commands import run
from services.kit.files import write_atomically

USER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
REMOVAL_LIMIT_S = 600


def exports_file(state: Path) -> Path:
    """What bootserver writes and the NFS server reads, below STATE_DIR/bootserver."""
    return state / "exports.json"


def persist_root(state: Path) -> Path:
    return state / "persist"


def load_exports(path: Path) -> Exports:
    try:
        return wire.load(Exports, json.loads(path.read_text()))
    except FileNotFoundError:
        return Exports()


class PersistStore:
    def __init__(self, state: Path) -> None:
        self._root = persist_root(state)
        self._exports = exports_file(state)

    def grant(self, node_id: int, owner: str, ip: str) -> None:
        """From now on this address, and no other, may mount the folder of this node and owner."""
        self._folder(node_id, owner).mkdir(parents=True, exist_ok=True)
        self._root.chmod(0o700)  # on the server, users reach no node's files
        self._put(exports.granted(load_exports(self._exports), node_id, owner, ip))

    def grant_image(self, node_id: int, folder: str, ip: str) -> None:
        """From now on this node may mount that image, and no other."""
        self._put(exports.image_granted(load_exports(self._exports), node_id, folder, ip))

    def image_paths(self) -> list[str]:
        """Of the images that nodes may mount, as they mount them."""
        return [exports.image_path(one.folder) for one in load_exports(self._exports).images]

    def revoke_image(self, node_id: int) -> None:
        self._put(exports.image_revoked(load_exports(self._exports), node_id))

    def grant_own_root(self, node_id: int, mac: str, folder: str, ip: str) -> None:
        """The same image where an image with a boot script of its own looks for it."""
        self._put(exports.own_root_granted(load_exports(self._exports), node_id, mac, folder, ip))

    def revoke_own_root(self, node_id: int) -> None:
        self._put(exports.own_root_revoked(load_exports(self._exports), node_id))

    def revoke(self, node_id: int) -> None:
        self._put(exports.revoked(load_exports(self._exports), node_id))

    def bytes_used(self, node_id: int) -> dict[str, int]:
        """{owner: bytes} of those who keep anything there."""
        folders = sorted((self._root / str(node_id)).glob("*"))
        return {folder.name: _bytes_below(folder) for folder in folders if any(folder.iterdir())}

    def known(self) -> set[int]:
        return {int(path.name) for path in self._root.glob("[0-9]*")}

    def forget(self, node_id: int) -> None:
        self._put(exports.forgotten(load_exports(self._exports), node_id))
        run(["rm", "-rf", str(self._root / str(node_id))], timeout=REMOVAL_LIMIT_S)

    def _folder(self, node_id: int, owner: str) -> Path:
        if not USER_NAME.fullmatch(owner):
            raise InvalidRequest(
                f"'{owner}' is not a user name; allowed: a letter first, a-z, 0-9, '-' and '_', up to 32"
            )
        return exports.folder(self._root, node_id, owner)

    def _put(self, wanted: Exports) -> None:
        if wanted != load_exports(self._exports):
            write_atomically(self._exports, json.dumps(wire.dump(wanted)))


def _bytes_below(folder: Path) -> int:
    return int(run(["du", "--summarize", "--block-size=1", str(folder)]).split()[0])
