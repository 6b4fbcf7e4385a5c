"""bootserver: OS images, boot plans, and "this node has booted".

Owns:      the image store, the plan of every node's boot, the ssh keys of platform and nodes.
Serves:    publish_boot, withdraw_boot, open_access, list_images, check_image, diagnose;
           over HTTP /boot/NODE/script.ipxe, /boot/NODE/seed.tar (to that node only), /boot/files/SHA256/NAME.
Announces: NODE_BOOTED, once per boot (again when this service starts): its ssh server greeted. Looked at from here,
           so that an image needs nothing special.
Hears:     nodes NODE_REMOVED (forget its plan and keys); asks nodes at start and now and then, for what was lost.

The NFS server is a process of its own (`nfs.py`), so that no restart of this one interrupts a node's root.

Environment: WALT_IMAGES_DIR (default /var/cache/walt/images), WALT_PLATFORM_IMAGES ("default=FOLDER,small=FOLDER",
folders of WALT_IMAGES_DIR), WALT_HTTP_ADDRESS (default 0.0.0.0:80), and the common WALT_SUBNET, WALT_STATE_DIR.
"""

from __future__ import annotations

from typing import Any

from nameko.events import event_handler
from werkzeug.wrappers import Request, Response

from services.bootserver import web
from services.bootserver.provider import BootsProvider
from services.contracts import bootserver, nodes, wire
from services.contracts.bootserver import BootRequest
from services.kit.entrypoints import internal
from services.kit.metrics import Metrics


class BootServer:
    name = bootserver.SERVICE
    metrics = Metrics()
    boots = BootsProvider()

    @internal
    def publish_boot(self, request: dict[str, Any]) -> dict[str, Any]:
        return wire.dump(self.boots.publish(wire.load(BootRequest, request)))

    @internal
    def withdraw_boot(self, node_id: int) -> None:
        self.boots.withdraw(node_id)

    @internal
    def open_access(self, node_id: int) -> dict[str, Any]:
        return wire.dump(self.boots.access(node_id))

    @internal
    def list_images(self) -> list[dict[str, Any]]:
        return wire.dump_all(self.boots.list_images())

    @internal
    def check_image(self, name: str) -> dict[str, Any]:
        return wire.dump(self.boots.images.view(name))

    @internal
    def diagnose(self) -> list[dict[str, Any]]:
        return wire.dump_all(self.boots.diagnose())

    @web.page("GET", "/boot/<int:node_id>/script.ipxe")
    def boot_script(self, request: Request, node_id: int) -> Response:
        return web.text(self.boots.script(node_id))

    @web.page("GET", "/boot/<int:node_id>/seed.tar")
    def boot_seed(self, request: Request, node_id: int) -> Response:
        return web.data(self.boots.seed(node_id, request.remote_addr or ""))

    @web.page("GET", "/boot/files/<digest>/<name>")
    def boot_file(self, request: Request, digest: str, name: str) -> Response:
        return web.content(request, digest, self.boots.images.served(digest))

    @event_handler(nodes.SERVICE, nodes.NODE_REMOVED)
    def on_node_removed(self, event: dict[str, Any]) -> None:
        self.boots.forget(wire.load(nodes.NodeRemoved, event).id)
