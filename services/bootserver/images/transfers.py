"""Transfers between a user's computer and this service, piece by piece, through a file on this side.

The same piece may come twice; a transfer in which nothing happens for a while is dropped.
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

from services.bootserver.workers import disk_reserve
from walt.contracts.bootserver import PIECE_BYTES
from walt.contracts.errors import Conflict, InvalidRequest, NotFound

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
    """`folder` is emptied at the start: transfers do not outlive this process."""

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
                f"{TRANSFERS_PER_USER} transfers of yours are under way; allowed: {TRANSFERS_PER_USER} at a time "
                f"(an idle one ends after {IDLE_S / 60:g} min)"
            )
        transfer_id = uuid.uuid4().hex
        transfer = Transfer(transfer_id, user, purpose, image, path, name, force, self._folder / transfer_id)
        transfer.file.touch(0o600)
        self._known[transfer_id] = transfer
        return transfer

    def find(self, user: str, transfer_id: str) -> Transfer:
        transfer = self._known.get(transfer_id)
        if transfer is None or transfer.user != user:
            raise NotFound(
                f"transfer '{transfer_id}' is not known any more: bootserver was restarted, or nothing came for "
                f"{IDLE_S / 60:g} min"
            )
        return transfer

    def write(self, user: str, transfer_id: str, offset: int, data: str) -> None:
        """data: base64 of one piece, which belongs at `offset`."""
        transfer = self.find(user, transfer_id)
        piece = _decode(data)
        if not 0 <= offset <= transfer.file.stat().st_size:
            raise InvalidRequest(
                f"a piece at {offset} of a transfer of {transfer.file.stat().st_size} bytes leaves a hole"
            )
        disk_reserve.check(self._folder, len(piece))
        with open(transfer.file, "r+b") as file:
            file.seek(offset)
            file.write(piece)

    def read(self, user: str, transfer_id: str, offset: int) -> str:
        """base64 of the next piece; "" at the end."""
        transfer = self.find(user, transfer_id)
        with open(transfer.file, "rb") as file:
            file.seek(offset)
            piece = file.read(PIECE_BYTES)
        os.utime(transfer.file)  # it is not idle
        return base64.b64encode(piece).decode()

    def close(self, user: str, transfer_id: str) -> None:
        if transfer_id in self._known:
            self.drop(self.find(user, transfer_id))

    def hand_over(self, transfer: Transfer) -> None:
        """From now on the caller owns the file and deletes it."""
        self._known.pop(transfer.id, None)

    def drop(self, transfer: Transfer) -> None:
        self._known.pop(transfer.id, None)
        transfer.file.unlink(missing_ok=True)

    def drop_idle(self) -> None:
        limit = time.time() - IDLE_S
        for transfer in list(self._known.values()):
            if transfer.file.stat().st_mtime < limit:
                self.drop(transfer)


def _decode(data: str) -> bytes:
    try:
        piece = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"the piece is not base64: {error}") from None
    if len(piece) > PIECE_BYTES:
        raise InvalidRequest(f"the piece has {len(piece)} bytes; allowed: at most {PIECE_BYTES}")
    return piece
