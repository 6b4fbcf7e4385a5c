"""ssh keys, generated once: the platform's own, with which it logs in to every node, and a host key per node."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from services.bootserver.boot.boot_script import SeedKeys
from services.kit.files import write_atomically
from services.kit.subprocesses import run
from walt.contracts.bootserver import NodeAccess

LOGIN = "root"


@dataclass(frozen=True)
class KeyPair:
    private: str
    public: str


class KeyStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # so that two callers who find no key do not both generate it

    def platform(self) -> KeyPair:
        return self._pair("platform", "walt")

    def node(self, node_id: int) -> KeyPair:
        return self._pair(f"node-{node_id}", f"walt-node-{node_id}")

    def seed_keys(self, node_id: int) -> SeedKeys:
        host = self.node(node_id)
        return SeedKeys(self.platform().public, host.private, host.public)

    def access(self, node_id: int, ip: str) -> NodeAccess:
        """How to log in to that node at its address."""
        host_key = " ".join(self.node(node_id).public.split()[:2])
        return NodeAccess(ip, LOGIN, self.platform().private, host_key)

    def known(self) -> set[int]:
        """Ids of the nodes with a host key."""
        return {int(path.stem.removeprefix("node-")) for path in self._folder.glob("node-[0-9]*")}

    def forget_node(self, node_id: int) -> None:
        for path in (self._folder / f"node-{node_id}", self._folder / f"node-{node_id}.pub"):
            path.unlink(missing_ok=True)

    def _pair(self, name: str, comment: str) -> KeyPair:
        private = self._folder / name
        public = self._folder / f"{name}.pub"
        with self._lock:
            if not private.exists():
                pair = _generate(comment)
                write_atomically(public, pair.public)  # first: where there is a private half, the pair is complete
                write_atomically(private, pair.private, mode=0o600)
        return KeyPair(private.read_text(), public.read_text())


def _generate(comment: str) -> KeyPair:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
        return KeyPair(path.read_text(), path.with_suffix(".pub").read_text())
