"""The disk for /persist of a node that boots: made, taken over from a folder of a version before, or grown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.kit.bus.bus import Bus
from services.kit.persist_disk import whole_mib
from services.vmrunner.disks.persist import PersistDiskStore
from walt.contracts import bootserver, units
from walt.contracts.bootserver import BootPlan
from walt.contracts.errors import Failed
from walt.contracts.nodes import NodeWanted

DROP_LIMIT_S = 300.0


@dataclass(frozen=True)
class PersistDisks:
    """folders: all that bootserver has (`BootPlan.persist_folder`)."""

    store: PersistDiskStore
    folders: Path
    bus: Bus

    def prepare(self, spec: NodeWanted, plan: BootPlan, uid: int, say: Callable[[str], None]) -> Path | None:
        """Its file; None when the node is free, or mounts a folder as in the version before. While no qemu has it
        open. uid: of the user who is to run its VM; say: takes a line for the console.

        The folder is dropped only when the disk is complete and has its name. A crash in between, or a call that is
        lost, is made good at the next boot."""
        if plan.persist_folder is None or not is_disk(spec):
            return None
        self.store.take_back(spec.id, spec.owned_by, spec.name)
        if not self.store.exists(spec.id, spec.owned_by):
            self._make(spec, plan.persist_folder, say)
        if plan.persist_folder:
            self._drop_folder(spec)
        disk = self.store.grow(spec.id, spec.owned_by, spec.persist_bytes, uid)
        size_bytes, wanted = disk.path.stat().st_size, units.format_disk(spec.persist_bytes)
        if disk.fault:
            say(f"/persist cannot be made larger for persist={wanted}, and stays as it is: {disk.fault}")
        elif size_bytes > whole_mib(spec.persist_bytes):
            say(f"/persist has {units.format_size(size_bytes)}, more than persist={wanted}: it is never made smaller")
        return disk.path

    def _make(self, spec: NodeWanted, folder: str, say: Callable[[str], None]) -> None:
        self.store.remove_drafts(spec.id)
        if not folder:
            self.store.make(spec.id, spec.owned_by, spec.persist_bytes)
            return
        content = self.folders / folder
        if not content.is_dir():  # an empty disk in its place would be a loss
            raise Failed(f"/persist is in the folder {content}, which this host does not have (WALT_PERSIST_FOLDERS)")
        say("copying /persist from its folder of earlier versions to a disk of its own")
        self.store.make(spec.id, spec.owned_by, spec.persist_bytes, content)

    def _drop_folder(self, spec: NodeWanted) -> None:
        self.bus.call(
            bootserver.SERVICE,
            "drop_persist_folder",
            timeout_s=DROP_LIMIT_S,
            node_id=spec.id,
            owner=spec.owner,
            account=spec.owner_account,
        )


def is_disk(spec: NodeWanted) -> bool:
    """Not for an owner whose account is not known: `nodes` is of the version before."""
    return bool(spec.owner and spec.owner_account)
