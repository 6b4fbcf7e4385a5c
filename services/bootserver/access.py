"""ssh keys: one of the platform, with which it logs in to every node, and a host key per node. Made once, kept."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from services.bootserver.bootplan import Keys
from services.kit.commands import run
from services.kit.files import write_atomically


@dataclass(frozen=True)
class KeyPair:
    private: str
    public: str


class KeyStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making = threading.Lock()  # of two who find no key, the second must not replace the first one's

    def platform(self) -> KeyPair:
        return self._pair("platform", "walt")

    def node(self, node_id: int) -> KeyPair:
        return self._pair(f"node-{node_id}", f"walt-node-{node_id}")

    def keys(self, node_id: int) -> Keys:
        host = self.node(node_id)
        return Keys(self.platform().public, host.private, host.public)

    def known(self) -> set[int]:
        return {int(path.stem.removeprefix("node-")) for path in self._folder.glob("node-[0-9]*")}

    def forget_node(self, node_id: int) -> None:
        for path in (self._folder / f"node-{node_id}", self._folder / f"node-{node_id}.pub"):
            path.unlink(missing_ok=True)

    def _pair(self, name: str, comment: str) -> KeyPair:
        private = self._folder / name
        public = self._folder / f"{name}.pub"
        with self._making:
            if not private.exists():
                pair = _generate(comment)
                write_atomically(public, pair.public)  # first: the private half says that the pair is complete
                write_atomically(private, pair.private, mode=0o600)
        return KeyPair(private.read_text(), public.read_text())


def _generate(comment: str) -> KeyPair:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
        return KeyPair(path.read_text(), path.with_suffix(".pub").read_text())
