"""What vmrunner remembers of each machine over its own restarts: STATE_DIR/vmrunner/ID/machine.json."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from json import JSONDecodeError, dumps, loads
from pathlib import Path

from services.contracts import wire
from services.contracts.errors import InvalidRequest
from services.kit import commands
from services.kit.files import write_atomically
from services.vmrunner.lifecycle import Machine

REMOVAL_LIMIT_S = 600

log = logging.getLogger(__name__)


def remove(paths: Iterable[Path]) -> None:
    """With all that is in them; Failed when one stays. By a process of its own: the file system may take minutes to give
    back a large disk, in which this one has others to look after."""
    commands.run(["rm", "-rf", "--", *map(str, paths)], timeout=REMOVAL_LIMIT_S)


class Store:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, node_id: int) -> Machine | None:
        path = self._path(node_id)
        try:
            return wire.load(Machine, loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (JSONDecodeError, InvalidRequest) as error:
            log.error("%s cannot be read, so this machine starts anew: %s", path, error)
            return None

    def save(self, machine: Machine) -> None:
        write_atomically(self._path(machine.node_id), dumps(wire.dump(machine)))

    def forget(self, node_id: int) -> None:
        remove([self._folder / str(node_id)])

    def known(self) -> set[int]:
        with contextlib.suppress(FileNotFoundError):
            return {int(folder.name) for folder in self._folder.iterdir() if folder.name.isdigit()}
        return set()

    def _path(self, node_id: int) -> Path:
        return self._folder / str(node_id) / "machine.json"
