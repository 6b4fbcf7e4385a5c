"""Images that boot by a script of their own, /boot/MODEL/start.ipxe: the files beside it, served to their node.

A node is recognised by the address of its requests; vmrunner, which requests from the server's address in the place of
its nodes, names the node's address.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from services.bootserver.boot.boot_records import BootRecordStore
from services.bootserver.image_kernel import chroot_paths, kernel_image
from services.bootserver.images.store import Image, ImageStore
from services.bootserver.site import Site
from services.kit import tasks
from walt.contracts.bootserver import MODEL
from walt.contracts.errors import Denied, Failed, NotFound

DIGESTS_KEPT = 1000
SCRIPT_BYTES = 2**16  # of a script, that are looked at
_NFS_ROOT = re.compile(r"^(?!\s*#).*?(?<!\S)(nfsroot=\S*|root=(?:/dev/)?nfs\S*|boot=nfs|netroot=nfs\S*)", re.M)


class OwnScriptFiles:
    def __init__(self, site: Site, images: ImageStore, records: BootRecordStore) -> None:
        self._site = site
        self._images = images
        self._records = records
        self._digests: dict[tuple[Path, int, int], str] = {}

    def find(self, path: str, requester: str, node_ip: str) -> tuple[str, Path]:
        """SHA-256 and path of a file below /boot/MODEL of the image that the requester boots, or, when the requester is
        vmrunner, that the node at `node_ip` boots. Denied, NotFound."""
        if node_ip and node_ip != requester and requester not in self._site.vmrunner_addresses:
            raise Denied(f"what {node_ip} boots is not served to {requester}")
        record = self._records.at_address(node_ip or requester)
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
    for name in sorted(path.name for path in chroot_paths.resolve(image.tree, folder).glob("*.ipxe")):
        file = chroot_paths.find_file(image.tree, f"{folder}/{name}")
        if file is None:
            continue
        with file.open("rb") as content:
            found = _NFS_ROOT.search(content.read(SCRIPT_BYTES).decode(errors="replace"))
        if found:
            raise Failed(
                f"image '{image.name}' wants its root over NFS ('{found[1]}' in /{folder}/{name}), and there is no "
                f"file server here; allowed: without /{folder}/start.ipxe it boots from a disk of the platform"
            )


def _sha256(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
