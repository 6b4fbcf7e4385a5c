"""What bootserver and the process of the disk server (`aoe_server.py`) tell each other, in files: the one which machine
has which disk, the other which of these it serves. Both are of STATE_DIR/bootserver."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable
from pathlib import Path

from services.bootserver.persist.disk_exports import DiskExport, DiskExports
from services.kit.files import write_atomically
from walt.contracts import serialization

NOT_RUNNING = "its process does not run"


def load_exports(state: Path) -> DiskExports:
    try:
        return serialization.load(DiskExports, json.loads(_exports(state).read_text()))
    except FileNotFoundError:
        return DiskExports()


def store_exports(state: Path, exports: DiskExports) -> None:
    write_atomically(_exports(state), json.dumps(serialization.dump(exports)))


def disks(state: Path) -> Path:
    return state / "persist"


def lock(state: Path) -> Path:
    """Held while the disk server runs."""
    return state / "persist-server.lock"


def store_served(state: Path, served: Iterable[DiskExport]) -> None:
    write_atomically(state / "persist-served.json", json.dumps(sorted(one.id for one in served)))


def query_fault(state: Path) -> str:
    """'' when the disk server runs and serves all that it should, else why not."""
    try:
        with lock(state).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return NOT_RUNNING
    except FileNotFoundError:
        return NOT_RUNNING
    except BlockingIOError:
        wanted = {one.id: one.file for one in load_exports(state).all if one.mac}
        missing = [wanted[number] for number in sorted(wanted.keys() - _served(state))]
        return f"it does not serve {', '.join(missing)}" if missing else ""


def _served(state: Path) -> set[int]:
    try:
        return set(json.loads((state / "persist-served.json").read_text()))
    except FileNotFoundError:
        return set()


def _exports(state: Path) -> Path:
    return state / "persist-exports.json"
