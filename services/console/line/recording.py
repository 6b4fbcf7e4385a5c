"""The recording of one line: an append-only file that qemu and we write, read at any offset, bounded at its head."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from services.console.line import punch_hole, scrollback
from services.console.line.scrollback import Extent
from services.kit.files import write_atomically
from services.kit.say_once import SayOnce
from walt.contracts import serialization
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Owner

log = logging.getLogger(__name__)

RECORDING_FILE = "line.log"
INFO_FILE = "line.json"
FORMER_NAMES = {"begin": "visible_from", "machine": "vm_owner"}  # of fields, in files of earlier versions


@dataclass(frozen=True)
class RecordingInfo:
    """What is known of a recording beside its bytes.

    name: of the node. power_on: offset of the last power-on. owner: of the node; None until it is known.
    visible_from: the first offset that the present owner may see. vm_owner: the owner at the last power-on.
    owner_account, vm_owner_account: "" in files of earlier versions.
    """

    name: str = ""
    power_on: int = 0
    owner: str | None = None
    visible_from: int = 0
    vm_owner: str | None = None
    owner_account: str = ""
    vm_owner_account: str = ""

    @property
    def owned_by(self) -> Owner | None:
        return None if self.owner is None else Owner(self.owner, self.owner_account)

    @property
    def vm_owned_by(self) -> Owner | None:
        return None if self.vm_owner is None else Owner(self.vm_owner, self.vm_owner_account)


class Recording:
    """`line.log`, and beside it `line.json` with its RecordingInfo. OSError if a file cannot be opened or written."""

    def __init__(self, folder: Path, name: str = "") -> None:
        self.path = folder / RECORDING_FILE
        self._info_path = folder / INFO_FILE
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        info = self._load_info()
        self._info = replace(info, name=name or info.name)
        self._trimming = SayOnce(log, f"{self.path} grows without bound: %s", f"{self.path} has its bound again")

    @property
    def name(self) -> str:
        return self._info.name

    @property
    def belongs_to_former_owner(self) -> bool:
        """Whether its VM was powered on for a former owner: the present one neither sees nor drives it."""
        owner, vm_owner = self._info.owned_by, self._info.vm_owned_by
        return vm_owner is not None and (owner is None or not owner.is_same(vm_owner))

    def extent(self) -> Extent:
        """What the present owner may see."""
        start, end = max(punch_hole.first_data(self._fd), self._info.visible_from), self._end()
        return Extent(end if self.belongs_to_former_owner else start, end, self._info.power_on)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def mark_power_on(self, name: str) -> None:
        """From now on a viewer starts here, and the VM is that of the present owner."""
        end = self._end()
        visible_from = end if self.belongs_to_former_owner else self._info.visible_from
        owner, account = self._info.owner, self._info.owner_account
        info = replace(self._info, name=name, power_on=end, visible_from=visible_from)
        self._save(replace(info, vm_owner=owner, vm_owner_account=account))

    def change_owner(self, owner: Owner) -> None:
        """Hide what was recorded under another owner; nothing if the owner is the same."""
        former = self._info.owned_by
        visible_from = self._info.visible_from if former is None or former.is_same(owner) else self._end()
        new = replace(_with_account(self._info, owner), owner=owner.name, visible_from=visible_from)
        if new != self._info:
            self._save(new)

    def trim(self) -> None:
        """Give the oldest bytes back to the disk when there are too many, also of those that nobody may see."""
        try:
            end = scrollback.head_to_drop(Extent(punch_hole.first_data(self._fd), self._end()))
            if end is not None:
                punch_hole.punch(self._fd, end)
            self._trimming.succeeded()
        except OSError as error:  # a full disk, say: it may be the next time
            self._trimming.failed(error)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _end(self) -> int:
        return os.fstat(self._fd).st_size

    def _save(self, info: RecordingInfo) -> None:
        self._info = info
        write_atomically(self._info_path, json.dumps(asdict(info)), 0o600)

    def _load_info(self) -> RecordingInfo:
        try:
            saved = json.loads(self._info_path.read_text())
            return serialization.load(
                RecordingInfo, {FORMER_NAMES.get(name, name): value for name, value in saved.items()}
            )
        except FileNotFoundError:
            return RecordingInfo()
        except (ValueError, AttributeError, InvalidRequest) as error:
            log.warning("%s is not readable (%s): earlier output is not shown", self._info_path, error)
            return RecordingInfo(visible_from=self._end())


def _with_account(info: RecordingInfo, owner: Owner) -> RecordingInfo:
    """The account of an owner who has been known by his name only, also as that of the VM."""
    if info.owned_by is not None and not owner.is_same(info.owned_by):
        return replace(info, owner_account=owner.account)
    account = owner.account or info.owner_account
    is_vms = info.vm_owner == owner.name and not info.vm_owner_account
    return replace(info, owner_account=account, vm_owner_account=account if is_vms else info.vm_owner_account)
