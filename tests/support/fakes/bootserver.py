"""`bootserver` as its peers know it: images by name, a boot plan, and how to log in."""

from __future__ import annotations

from typing import Any

from tests.support.fakes.fake_service import FakeService, serves
from walt.contracts import bootserver, serialization
from walt.contracts.bootserver import BootPlan, BootRequest, ImageUse, ImageView, NodeAccess, SetAddresses
from walt.contracts.errors import NotFound
from walt.contracts.vmrunner import VmReport


class FakeBootserver(FakeService):
    """images: names, of users as USER/NAME; requests: boots published so far; persisted: {(node id, owner): bytes};
    script_url: what every plan boots; nodes: ids of those that may be logged in to, by `access`;
    set_addresses: of their systems."""

    name = bootserver.SERVICE

    def __init__(self, images: tuple[str, ...] = (bootserver.DEFAULT_IMAGE,), script_url: str = "") -> None:
        super().__init__()
        self.images = list(images)
        self.script_url = script_url
        self.requests: list[BootRequest] = []
        self.persisted: dict[tuple[int, str], int] = {}
        self.persist_folder: str | None = ""
        self.dropped: list[tuple[int, str, str]] = []
        self.machines: list[VmReport] = []
        self.access = NodeAccess("127.0.0.1", "root", "KEY\n", "ssh-ed25519 AAAA")
        self.nodes: set[int] = set()
        self.set_addresses: list[SetAddresses] = []

    @serves
    def publish_boot(self, request: Any) -> Any:
        boot = serialization.load(BootRequest, request)
        self._find(boot.image)
        self.requests.append(boot)
        self.nodes.add(boot.node_id)
        url = self.script_url or f"http://127.0.0.1/boot/{boot.node_id}/script.ipxe"
        return serialization.dump(
            BootPlan(url, boot.ip, "255.255.252.0", "127.0.0.1", "127.0.0.1", self.persist_folder)
        )

    @serves
    def open_access(self, node_id: int) -> Any:
        if node_id not in self.nodes:
            raise NotFound(f"node {node_id} has not booted")
        return serialization.dump(self.access)

    @serves
    def get_addresses(self, node_ids: list[int]) -> Any:
        return serialization.dump_all([one for one in self.set_addresses if one.node_id in node_ids])

    @serves
    def check_image(self, name: str, user: str = "", account: str = "") -> Any:
        found = self._find(f"{user}/{name}", name)
        return serialization.dump(ImageView(found, found.rpartition("/")[0], 0.0, 1, "linux"))

    @serves
    def count_images(self, user: str, account: str) -> Any:
        own = [name for name in self.images if name.startswith(f"{user}/")]
        return serialization.dump(ImageUse(len(own), len(own)))

    @serves
    def persist_bytes(self, node_id: int) -> dict[str, int]:
        return {owner: size for (node, owner), size in self.persisted.items() if node == node_id}

    @serves
    def drop_persist_folder(self, node_id: int, owner: str, account: str) -> None:
        self.dropped.append((node_id, owner, account))
        self.persist_folder = ""

    @serves
    def list_machines(self) -> Any:
        return serialization.dump_all(self.machines)

    @serves
    def diagnose(self) -> list[Any]:
        return []

    def _find(self, *names: str) -> str:
        for name in names:
            if name in self.images:
                return name
        raise NotFound(f"there is no image '{names[-1]}'")
