"""Images that boot by a script of their own, /boot/MODEL/start.ipxe: the files beside it, served to their node."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from services.bootserver.boot.boot_records import BootRecordStore
from services.bootserver.image_kernel import chroot_paths, kernel_image
from services.bootserver.images.store import Image, ImageStore
from services.kit import tasks
from walt.contracts.bootserver import MODEL
from walt.contracts.errors import Denied, Failed, NotFound

DIGESTS_KEPT = 1000
SCRIPTS, SCRIPT_BYTES = 20, 2**16  # that are looked at, and of each
_NFS_ROOT = re.compile(r"nfsroot=.*|root=(?:/dev/)?nfs.*|boot=nfs|netroot=nfs.*")


class OwnScriptFiles:
    def __init__(self, images: ImageStore, records: BootRecordStore) -> None:
        self._images = images
        self._records = records
        self._digests: dict[tuple[Path, int, int], str] = {}

    def find(self, path: str, address: str) -> tuple[str, Path]:
        """SHA-256 and path of a file below /boot/MODEL of the image that the node at this address boots. Denied,
        NotFound."""
        record = self._records.at_address(address)
        image = self._images.in_folder(record.folder, record.request.image)
        file = chroot_paths.find_file(image.tree, f"boot/{MODEL}/{path}")
        if file is None or not image.has_script:
            raise NotFound(f"image '{record.request.image}' has no /boot/{MODEL}/{path}")
        if kernel_image.is_too_large(file):
            raise Denied(
                f"/boot/{MODEL}/{path} of image '{record.request.image}' has {file.stat().st_size / 1e6:.0f} MB; "
                f"allowed: {kernel_image.LIMIT_BYTES / 1e6:.0f} MB"
            )
        return self._digest(file), file

    def _digest(self, file: Path) -> str:
        """Kept by time and size: files of images are replaced, never written to. The oldest make room for new ones."""
        status = file.stat()
        key = (file, status.st_mtime_ns, status.st_size)
        if key not in self._digests:
            digest = tasks.in_os_thread(_sha256, file)
            while len(self._digests) >= DIGESTS_KEPT:
                self._digests.pop(next(iter(self._digests)))
            self._digests[key] = digest
        return self._digests[key]


def check_needs_no_file_server(image: Image) -> None:
    """Failed when a script of the image has its kernel mount the root over NFS, which nothing here serves."""
    folder = f"boot/{MODEL}"
    scripts = [name for name in chroot_paths.names(image.tree, folder) if name.endswith(".ipxe")]
    for name in scripts[:SCRIPTS]:
        file = chroot_paths.find_file(image.tree, f"{folder}/{name}")
        if file is None:
            continue
        with file.open("rb") as content:
            found = nfs_root(content.read(SCRIPT_BYTES).decode(errors="replace"))
        if found:
            raise Failed(
                f"image '{image.name}' wants its root over NFS ('{found}' in /{folder}/{name}), and there is no "
                f"file server here; allowed: without /{folder}/start.ipxe it boots from a disk of the platform"
            )


def nfs_root(script: str) -> str:
    """The word of a command that has a kernel mount its root over NFS, "" if there is none. Pure."""
    commands = (line for line in script.splitlines() if not line.lstrip().startswith("#"))
    return next((word for line in commands for word in line.split() if _NFS_ROOT.fullmatch(word)), "")


def _sha256(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
