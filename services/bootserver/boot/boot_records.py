"""The published boots, a file each: a bootserver that starts again serves and watches them as before."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.kit.files import write_atomically
from walt.contracts import serialization
from walt.contracts.bootserver import BootRequest
from walt.contracts.errors import NotFound


@dataclass(frozen=True)
class BootRecord:
    """The present boot of a node.

    published_at, booted_at: epoch seconds; booted_at is 0 until the node has answered.
    folder: of the image at the time of publication, which the node keeps when the image is renamed or replaced; "" in
    records of versions that did not note it. is_addressed_anew: setting of addresses in the running
    system was begun.
    """

    request: BootRequest
    published_at: float
    booted_at: float = 0.0
    folder: str = ""
    is_addressed_anew: bool = field(default=False, compare=False)


def record_boot(known: BootRecord | None, request: BootRequest, folder: str, now: float) -> BootRecord:
    """The known record when it is of this very request, else a new one. Pure."""
    return known if known is not None and known.request == request else BootRecord(request, now, folder=folder)


class BootRecordStore:
    """All records are held in memory; the files are read at start only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records = {int(path.stem): _load(path) for path in sorted(folder.glob("[0-9]*.json"))}

    def get(self, node_id: int) -> BootRecord:
        record = self.find(node_id)
        if record is None:
            raise NotFound(f"no boot is published for node {node_id}")
        return record

    def find(self, node_id: int) -> BootRecord | None:
        return self._records.get(node_id)

    def at_address(self, ip: str) -> BootRecord:
        for record in self.all():
            if record.request.ip == ip:
                return record
        raise NotFound(f"no boot is published for {ip}")

    def folders(self) -> set[str]:
        """Image folders that nodes run from."""
        return {record.folder for record in self.all()}

    def last_boots(self) -> dict[int, float]:
        """{node id: seconds that its last boot took}, of the nodes that have booted."""
        return {one.request.node_id: one.booted_at - one.published_at for one in self.all() if one.booted_at}

    def known(self) -> set[int]:
        """Node ids."""
        return set(self._records)

    def all(self) -> list[BootRecord]:
        return list(self._records.values())

    def put(self, record: BootRecord) -> None:
        write_atomically(self._path(record.request.node_id), json.dumps(serialization.dump(record)))
        self._records[record.request.node_id] = record

    def put_booted(self, record: BootRecord, at: float) -> bool:
        """False, and nothing is stored, when this is not the node's present boot or has ended before."""
        if self.find(record.request.node_id) != record:
            return False
        self.put(replace(record, booted_at=at))
        return True

    def note_addressed_anew(self, record: BootRecord) -> None:
        if not record.is_addressed_anew:
            self.put(replace(record, is_addressed_anew=True))

    def remove(self, node_id: int) -> None:
        self._path(node_id).unlink(missing_ok=True)
        self._records.pop(node_id, None)

    def _path(self, node_id: int) -> Path:
        return self._folder / f"{node_id}.json"


def _load(path: Path) -> BootRecord:
    return serialization.load(BootRecord, json.loads(path.read_text()))
