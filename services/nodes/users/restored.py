"""The users of a backup, until they are accounts of the broker again: STATE_DIR/nodes/restored-users.json.

Whoever restores the registry writes the file, as the broker may not run then; nodes makes the accounts at its start,
before it does anything else to accounts.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from services.kit.files import write_atomically
from services.nodes.users.rabbitmq_api import ManagementApi
from services.nodes.users.rules import StoredAccount
from walt.contracts import serialization
from walt.contracts.broker_permissions import user_rights

log = logging.getLogger(__name__)


def restored_file(folder: Path) -> Path:
    """folder: STATE_DIR/nodes."""
    return folder / "restored-users.json"


def write(path: Path, users: Iterable[StoredAccount]) -> None:
    write_atomically(path, json.dumps(serialization.dump_all(users)), 0o600)


class RestoredUsers:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def put(self, broker: ManagementApi, public: Callable[[], Sequence[str]]) -> None:
        """public: the routing keys that they may use. The file goes last: after a crash it is done again."""
        if not self._path.exists():
            return
        with self._lock:
            if not self._path.exists():
                return
            for account in serialization.load_all(StoredAccount, json.loads(self._path.read_text())):
                broker.put_stored(account)
                broker.put_rights(account.name, user_rights(account.name, public()))
                log.info("user restored: user=%s", account.name)
            self._path.unlink()
