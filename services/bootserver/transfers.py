"""Files on their way between a user's computer and this service: pieces of some size, in a file of ours.

A piece may come twice; one that is not kept up is dropped.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from services.bootserver import space
from services.contracts.bootserver import PIECE_BYTES
from services.contracts.errors import Conflict, InvalidRequest, NotFound

IDLE_S = 600.0
TRANSFERS_PER_USER = 4


@dataclass(frozen=True)
class Transfer:
    """purpose, image, path, name, force: what an upload is for."""

    id: str
    user: str
    purpose: str
    image: str
    path: str
    name: str
    force: bool
    file: Path


class Transfers:
    """`folder` is emptied at the start: what was on its way to a process before this one is lost."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Transfer] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)

    def open(
        self, user: str, purpose: str, image: str, path: str = "", name: str = "", force: bool = False
    ) -> Transfer:
        self.drop_idle()
        if sum(one.user == user for one in self._known.values()) >= TRANSFERS_PER_USER:
            raise Conflict(
                f"{TRANSFERS_PER_USER} transfers of yours are under way; allowed: as many at a time (one that is not kept up "
                f"ends after {IDLE_S / 60:g} min)"
            )
        key = uuid.uuid4().hex
        transfer = Transfer(key, user, purpose, image, path, name, force, self._folder / key)
        transfer.file.touch(0o600)
        self._known[key] = transfer
        return transfer

    def find(self, user: str, name: str) -> Transfer:
        transfer = self._known.get(name)
        if transfer is None or transfer.user != user:
            raise NotFound(
                f"transfer '{name}' is not known any more: bootserver was restarted, or nothing came for {IDLE_S / 60:g} min"
            )
        return transfer

    def write(self, user: str, name: str, offset: int, data: str) -> None:
        transfer = self.find(user, name)
        piece = _decoded(data)
        if not 0 <= offset <= transfer.file.stat().st_size:
            raise InvalidRequest(
                f"a piece at {offset} of a transfer of {transfer.file.stat().st_size} bytes leaves a hole"
            )
        space.check(self._folder, len(piece))
        with open(transfer.file, "r+b") as file:
            file.seek(offset)
            file.write(piece)

    def read(self, user: str, name: str, offset: int) -> str:
        """Nothing at the end."""
        transfer = self.find(user, name)
        with open(transfer.file, "rb") as file:
            file.seek(offset)
            piece = file.read(PIECE_BYTES)
        os.utime(transfer.file)  # it is not idle
        return base64.b64encode(piece).decode()

    def close(self, user: str, name: str) -> None:
        if name in self._known:
            self.drop(self.find(user, name))

    def take(self, transfer: Transfer) -> None:
        """From now on the caller's, to delete."""
        self._known.pop(transfer.id, None)

    def drop(self, transfer: Transfer) -> None:
        self._known.pop(transfer.id, None)
        transfer.file.unlink(missing_ok=True)

    def drop_idle(self) -> None:
        limit = time.time() - IDLE_S
        for transfer in list(self._known.values()):
            if transfer.file.stat().st_mtime < limit:
                self.drop(transfer)


def _decoded(data: str) -> bytes:
    try:
        piece = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"a piece that is not base64: {error}") from None
    if len(piece) > PIECE_BYTES:
        raise InvalidRequest(f"a piece of {len(piece)} bytes; allowed: at most {PIECE_BYTES}")
    return piece
