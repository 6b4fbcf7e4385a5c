"""Images that boot by a script of their own, /boot/MODEL/start.ipxe: the files beside it, as its machine asks for them.

A machine is known by the address it asks from; vmrunner, which asks for its virtual nodes from the server's address, names
the node's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from services.bootserver import kernels, rooted
from services.bootserver.bootplan import Site
from services.bootserver.stores import Stores
from services.contracts.bootserver import MODEL
from services.contracts.errors import Denied, NotFound


class OwnFiles:
    def __init__(self, site: Site, stores: Stores) -> None:
        self._site = site
        self._plans = stores.plans
        self._images = stores.images
        self._digests: dict[tuple[Path, int, int], str] = {}

    def find(self, path: str, asked_from: str, node_ip: str) -> tuple[str, Path]:
        """SHA-256 and place of a file below /boot/MODEL of the image that this machine boots."""
        if node_ip and node_ip != asked_from and asked_from not in self._site.own:
            raise Denied(f"{asked_from} asks for what {node_ip} boots")
        published = self._plans.at_address(node_ip or asked_from)
        image = self._images.at(published.folder, published.request.image)
        file = rooted.find_file(image.tree, f"boot/{MODEL}/{path}")
        if file is None or not image.has_script:
            raise NotFound(f"image '{published.request.image}' has no /boot/{MODEL}/{path}")
        if kernels.is_too_large(file):
            raise Denied(
                f"/boot/{MODEL}/{path} of image '{published.request.image}' has {file.stat().st_size / 1e6:.0f} MB; allowed: "
                f"{kernels.LIMIT_BYTES / 1e6:.0f} MB"
            )
        return self._digest(file), file

    def _digest(self, file: Path) -> str:
        """Files of images are replaced, never written to."""
        seen = file.stat()
        key = (file, seen.st_mtime_ns, seen.st_size)
        if key not in self._digests:
            with open(file, "rb") as content:
                self._digests[key] = hashlib.file_digest(content, "sha256").hexdigest()
        return self._digests[key]
