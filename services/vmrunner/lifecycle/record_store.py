"""The records of VMs on disk, which outlive vmrunner: STATE_DIR/vmrunner/NODE_ID/machine.json."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

from services.kit.files import remove_tree, write_atomically
from services.vmrunner.lifecycle.transitions import VmRecord
from walt.contracts import serialization
from walt.contracts.errors import InvalidRequest

log = logging.getLogger(__name__)


class RecordStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, node_id: int) -> VmRecord | None:
        path = self._path(node_id)
        try:
            return serialization.load(VmRecord, json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, InvalidRequest) as error:
            log.error("%s cannot be read, so this VM starts anew: %s", path, error)
            return None

    def save(self, record: VmRecord) -> None:
        write_atomically(self._path(record.node_id), json.dumps(serialization.dump(record)))

    def forget(self, node_id: int) -> None:
        """With all else that the folder of this node holds, such as its disks."""
        remove_tree(self._folder / str(node_id))

    def known(self) -> set[int]:
        with contextlib.suppress(FileNotFoundError):
            return {int(folder.name) for folder in self._folder.iterdir() if folder.name.isdigit()}
        return set()

    def _path(self, node_id: int) -> Path:
        return self._folder / str(node_id) / "machine.json"
