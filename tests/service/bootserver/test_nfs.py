"""The NFS server's process, with a real NFS-Ganesha in a network namespace: what it exports is found by its path."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bootserver.nfs.persist import PersistStore
from tests.service.test_nat import Space
from tests.support.wait import wait_until

SERVER, NODE, OTHER = "127.0.0.1", "127.0.0.9", "127.0.0.8"


class NfsServer:
    """`services.bootserver.nfs.ganesha`, and its exports."""

    def __init__(self, folder: Path) -> None:
        self._space = Space()
        (folder / "images/tiny-1").mkdir(parents=True)
        self.exports = PersistStore(folder / "bootserver")
        own = {"WALT_STATE_DIR": str(folder), "WALT_RUN_DIR": str(folder / "run"), "WALT_SUBNET": "127.0.0.0/8"}
        self._environment = {**os.environ, **own, "WALT_IMAGES_DIR": str(folder / "images")}
        self.process = subprocess.Popen(
            [*self._space.inside, sys.executable, "-m", "services.bootserver.nfs.ganesha"],
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )

    def query_fault(self, *paths: str) -> str:
        code = (
            "import sys; from services.bootserver.nfs.nfs_probe import query_fault; "
            "print(query_fault(sys.argv[1], sys.argv[2:]))"
        )
        return self._space.run(sys.executable, "-c", code, SERVER, *paths).strip()

    def becomes(self, fault: str, *paths: str) -> None:
        wait_until(lambda: self.query_fault(*paths) == fault, 10, f"the answer {fault!r}")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._space.close()


@pytest.fixture
def server(as_root, require) -> Iterator[NfsServer]:
    require("nfs", shutil.which("ganesha.nfsd") is not None, "ganesha.nfsd is not installed")
    folder = Path(tempfile.mkdtemp(prefix="walt-nfs-"))
    server = NfsServer(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder)


def test_what_is_exported_is_found_and_what_is_not_is_named(server):
    server.becomes("")
    assert server.query_fault("/images/tiny-1") == "/images/tiny-1 is not exported: no such folder"
    server.exports.grant_image(7, "tiny-1", NODE)
    server.becomes("", "/images/tiny-1")
    server.exports.grant_image(8, "gone", OTHER)
    server.becomes("/images/gone is not exported: no such folder", "/images/tiny-1", "/images/gone")
    server.exports.revoke_image(7)
    server.becomes("/images/tiny-1 is not exported: no such folder", "/images/tiny-1")
    os.kill(server.process.pid, signal.SIGKILL)
    server.becomes("[Errno 111] Connection refused")
