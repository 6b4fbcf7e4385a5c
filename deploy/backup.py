"""A backup of the platform: its registry, the accounts of its users, and what its deployment must not lose. One file: a
gzip of a JSON document, for its owner alone.

Not in it: disks and /persist of nodes, images of users, consoles. The passwords of the platform's own accounts are made
anew where it is restored.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.nodes.storage import dump
from services.nodes.storage.dump import Dump
from services.nodes.users import restored
from services.nodes.users.rules import BrokerAccount, StoredAccount
from walt.contracts import serialization
from walt.contracts.errors import InvalidRequest

FORMAT = 1


@dataclass(frozen=True)
class Backup:
    """made_at: epoch seconds; files: of the deployment, {name: content}."""

    made_at: float
    registry: Dump
    users: tuple[StoredAccount, ...]
    files: Mapping[str, str]

    @property
    def summary(self) -> str:
        made = time.strftime("%F %T", time.localtime(self.made_at))
        return f"{len(self.registry.tables.get('nodes', ()))} nodes and {len(self.users)} users, as of {made}"


def make(url: str, accounts: Iterable[StoredAccount], files: Mapping[str, str]) -> Backup:
    """url: of the registry's database; accounts: all of the broker, of which those of users are kept."""
    users = tuple(one for one in accounts if BrokerAccount(one.name, frozenset(one.tags)).is_user)
    return Backup(time.time(), dump.read(url), users, files)


def put_back(backup: Backup, url: str, folder: Path, replace: bool) -> None:
    """While nodes does not run; its start makes the users' accounts. folder: STATE_DIR/nodes."""
    dump.write(url, backup.registry, replace)
    restored.write(restored.restored_file(folder), backup.users)


def pack(backup: Backup) -> bytes:
    document = {
        "format": FORMAT,
        "made_at": backup.made_at,
        "revision": backup.registry.revision,
        "tables": dict(backup.registry.tables),
        "users": serialization.dump_all(backup.users),
        "files": dict(backup.files),
    }
    return gzip.compress(json.dumps(document).encode())


def unpack(content: bytes) -> Backup:
    """InvalidRequest for what is no backup, or not a whole one."""
    try:
        document: dict[str, Any] = json.loads(gzip.decompress(content))
        if document["format"] != FORMAT:
            raise InvalidRequest(f"this backup has format {document['format']}; allowed: {FORMAT}")
        users = tuple(serialization.load_all(StoredAccount, document["users"]))
        registry = Dump(document["revision"], document["tables"])
        return Backup(document["made_at"], registry, users, document["files"])
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"this is no backup of walt, or not a whole one ({error!r})") from None
