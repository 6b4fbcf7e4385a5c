"""What a published boot serves to its node over HTTP: the script and the seed, and what it reports on its way."""

from __future__ import annotations

from collections.abc import Callable

from services.bootserver.boot import boot_script
from services.bootserver.boot.boot_records import BootRecordStore
from services.bootserver.boot.boot_script import RootImage
from services.bootserver.boot.ssh_keys import KeyStore
from services.bootserver.images.store import ImageStore
from services.bootserver.site import Site
from walt.contracts.bootserver import BootRequest, NodeCopying
from walt.contracts.errors import Denied


class BootPayload:
    """address, everywhere: of the node for which a request comes (`Site.node_address`), which says which node it is.

    network_disk(node_id): of its /persist, as its kernel names it, "" when it has none; report_copying: called now and
    then while a node copies its image to its disk.
    """

    def __init__(
        self,
        site: Site,
        images: ImageStore,
        records: BootRecordStore,
        keys: KeyStore,
        network_disk: Callable[[int], str],
        report_copying: Callable[[NodeCopying], object],
    ) -> None:
        self._site = site
        self._images = images
        self._records = records
        self._keys = keys
        self._network_disk = network_disk
        self._report_copying = report_copying

    def script(self, node_id: int, address: str) -> str:
        """The iPXE script. Denied to all but the node."""
        record = self._records.get(node_id)
        request = record.request
        _check_address(request, address)
        image = self._images.in_folder(record.folder, request.image)
        if image.has_script:
            return boot_script.chain_script(request, self._site)
        root = RootImage(image.folder, image.is_kernel_lent)
        disk = self._network_disk(node_id) if request.has_network_disk else ""
        return boot_script.script(request, root, self._images.boot_files(image), self._site, disk)

    def seed(self, node_id: int, address: str) -> bytes:
        """A tar with the node's secrets. Denied to all but the node, be it vmrunner in its place."""
        request = self._records.get(node_id).request
        _check_address(request, address)
        return boot_script.seed(request, self._keys.seed_keys(node_id), self._site)

    def check_boot_file(self, digest: str, address: str) -> None:
        """Denied unless the file is of the image that the node boots: images of users are theirs, and a digest is no
        secret, as it stands on consoles."""
        record = self._records.at_address(address)
        files = self._images.boot_files(self._images.in_folder(record.folder, record.request.image))
        if digest not in (files.kernel, files.initrd, files.root):
            raise Denied(f"this is not a file of the image that {record.request.name} boots")

    def report_copy_progress(self, node_id: int, address: str) -> None:
        """The node is still copying its image to its disk. Denied to all but the node, be it vmrunner in its place."""
        request = self._records.get(node_id).request
        _check_address(request, address)
        self._report_copying(NodeCopying(request.node_id, request.run))


def _check_address(request: BootRequest, address: str) -> None:
    if address != request.ip:
        raise Denied(f"what {request.name} boots is served to {request.ip} only, not to {address}")
