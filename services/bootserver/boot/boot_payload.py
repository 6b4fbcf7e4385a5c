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
    """requester, everywhere: the IP address that a request comes from, which says which node it is.

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
        report_copying: Callable[[NodeCopying], None],
    ) -> None:
        self._site = site
        self._images = images
        self._records = records
        self._keys = keys
        self._network_disk = network_disk
        self._report_copying = report_copying

    def script(self, node_id: int, requester: str) -> str:
        """The iPXE script, for the node itself or for vmrunner. Denied to others."""
        record = self._records.get(node_id)
        request = record.request
        if requester not in self._site.vmrunner_addresses:
            _check_requester(request, requester)
        image = self._images.in_folder(record.folder, request.image)
        if image.has_script:
            return boot_script.chain_script(request, self._site)
        root = RootImage(image.folder, image.is_kernel_lent)
        disk = self._network_disk(node_id) if request.has_network_disk else ""
        return boot_script.script(request, root, self._images.boot_files(image), self._site, disk)

    def seed(self, node_id: int, requester: str) -> bytes:
        """A tar with the node's secrets. Denied to all but the node."""
        request = self._records.get(node_id).request
        _check_requester(request, requester)
        return boot_script.seed(request, self._keys.seed_keys(node_id), self._site)

    def check_boot_file(self, digest: str, requester: str) -> None:
        """Denied unless the file is of the image that the requester boots: images of users are theirs."""
        if requester in self._site.vmrunner_addresses:
            return
        record = self._records.at_address(requester)
        files = self._images.boot_files(self._images.in_folder(record.folder, record.request.image))
        if digest not in (files.kernel, files.initrd, files.root):
            raise Denied(f"this is not a file of the image that {record.request.name} boots")

    def report_copy_progress(self, node_id: int, requester: str) -> None:
        """The node is still copying its image to its disk. Denied to all but the node."""
        request = self._records.get(node_id).request
        _check_requester(request, requester)
        self._report_copying(NodeCopying(request.node_id, request.run))


def _check_requester(request: BootRequest, requester: str) -> None:
    if requester != request.ip:
        raise Denied(f"what {request.name} boots is served to {request.ip} only, not to {requester}")
