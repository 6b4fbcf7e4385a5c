"""bootserver: OS images, boot plans, names on walt-net, and "this node has booted".

Owns:      the image store, the plan of every node's boot, the ssh keys of platform and nodes, the names of nodes,
           the /persist folders.
Serves:    get_images, save_image, import_image, clone_image, rename_image, remove_image, and for what takes long or much
           open_upload, write_upload, finish_upload, open_download, read_download,
           close_transfer, follow_job (users); publish_boot, open_access, list_images, check_image, persist_bytes,
           list_machines, diagnose;
           over HTTP /boot/NODE/script.ipxe, /boot/NODE/seed.tar and /boot/NODE/image.tar (each to that node only),
           /boot/files/SHA256/NAME, /boot/machine.ipxe?mac=MAC (what a machine boots that asks by its own ROM),
           any other path: of an image with a boot script of its own, to the machine that boots it.
Announces: NODE_BOOTED, once per boot (again when this service starts): its ssh server greeted. Looked at from here,
           so that an image needs nothing special. NODE_COPYING, while a node takes its image.tar. MACHINE_CHANGED, MACHINE_REMOVED of physical nodes.
Asks:      nodes register_machine, when a machine boots; console run_command, to reboot it.
Hears:     nodes NODE_WANTED (its name; boots and ends of physical nodes), NODE_REMOVED (forget it); asks nodes at start and now and then, for what was lost.

The NFS server and the name server are processes of their own (`nfs.py`, `dns.py`), so that no restart of this one
interrupts a node's root or leaves it without names.

Environment: WALT_IMAGES_DIR (default /var/cache/walt/images), WALT_PLATFORM_IMAGES ("default=FOLDER,small=FOLDER",
folders of WALT_IMAGES_DIR), WALT_USER_IMAGES (default users: a folder there for the images of users), WALT_HTTP_ADDRESS (default 0.0.0.0:80), and the common WALT_SUBNET, WALT_STATE_DIR.
"""

from __future__ import annotations

from typing import Any

from nameko.events import event_handler
from werkzeug.wrappers import Request, Response

from services.bootserver import dns, web
from services.bootserver.provider import Here
from services.contracts import bootserver, nodes, wire
from services.contracts.bootserver import BootRequest
from services.kit.entrypoints import Caller, internal, public
from services.kit.metrics import Metrics


class BootServer:
    name = bootserver.SERVICE
    metrics = Metrics()
    here = Here()
    caller = Caller()

    @internal
    def publish_boot(self, request: dict[str, Any]) -> dict[str, Any]:
        return wire.dump(self.here.boots.publish(wire.load(BootRequest, request)))

    @internal
    def open_access(self, node_id: int) -> dict[str, Any]:
        return wire.dump(self.here.pages.access(node_id))

    @internal
    def list_images(self) -> list[dict[str, Any]]:
        images = self.here.images
        return wire.dump_all(images.views(images.names()))

    @internal
    def check_image(self, name: str, user: str = "") -> dict[str, Any]:
        images = self.here.images
        return wire.dump(images.view(images.meant(name, user)))

    @public
    def get_images(self) -> list[dict[str, Any]]:
        images = self.here.images
        return wire.dump_all(images.views(images.names_of(self.caller)))

    @public
    def save_image(self, node: str, name: str, force: bool = False) -> str:
        return self.here.saver.save(self.caller, node, name, force)

    @public
    def import_image(self, reference: str, name: str = "", force: bool = False) -> str:
        return self.here.maker.import_image(self.caller, reference, name, force)

    @public
    def open_upload(self, purpose: str, image: str, path: str = "", name: str = "", force: bool = False) -> str:
        return self.here.maker.open_upload(self.caller, purpose, image, path, name, force)

    @public
    def write_upload(self, upload: str, offset: int, data: str) -> None:
        self.here.transfers.write(self.caller, upload, offset, data)

    @public
    def finish_upload(self, upload: str) -> str:
        return self.here.maker.finish_upload(self.caller, upload)

    @public
    def open_download(self, image: str, path: str) -> str:
        return self.here.maker.open_download(self.caller, image, path)

    @public
    def read_download(self, job: str, offset: int) -> str:
        return self.here.transfers.read(self.caller, job, offset)

    @public
    def close_transfer(self, transfer: str) -> None:
        self.here.transfers.close(self.caller, transfer)

    @public
    def follow_job(self, job: str, seen: int = 0) -> dict[str, Any]:
        return wire.dump(self.here.jobs.view(self.caller, job, seen))

    @public
    def clone_image(self, image: str, name: str, force: bool = False) -> dict[str, Any]:
        return wire.dump(self.here.catalogue.clone(self.caller, image, name, force))

    @public
    def rename_image(self, image: str, name: str) -> dict[str, Any]:
        return wire.dump(self.here.catalogue.rename(self.caller, image, name))

    @public
    def remove_image(self, image: str, force: bool = False) -> None:
        self.here.catalogue.remove(self.caller, image, force)

    @internal
    def persist_bytes(self, node_id: int) -> dict[str, int]:
        return self.here.persist.bytes_used(node_id)

    @internal
    def list_machines(self) -> list[dict[str, Any]]:
        return wire.dump_all(self.here.machines.reports())

    @internal
    def diagnose(self) -> list[dict[str, Any]]:
        return wire.dump_all(self.here.diagnose())

    @web.page("GET", dns.BOOT_PAGE)
    def machine_script(self, request: Request) -> Response:
        return web.text(self.here.netboot.script(request.args.get("mac", ""), request.remote_addr or ""))

    @web.page("GET", "/boot/<int:node_id>/script.ipxe")
    def boot_script(self, request: Request, node_id: int) -> Response:
        return web.text(self.here.pages.script(node_id, request.remote_addr or ""))

    @web.page("GET", "/boot/<int:node_id>/seed.tar")
    def boot_seed(self, request: Request, node_id: int) -> Response:
        return web.data(self.here.pages.seed(node_id, request.remote_addr or ""))

    @web.page("GET", "/boot/<int:node_id>/image.tar")
    def boot_image(self, request: Request, node_id: int) -> Response:
        return web.stream(self.here.pages.image_tar(node_id, request.remote_addr or ""))

    @web.page("GET", "/boot/files/<digest>/<name>")
    def boot_file(self, request: Request, digest: str, name: str) -> Response:
        self.here.netboot.file_sent(name, request.remote_addr or "")
        return web.content(request, digest, self.here.images.served(digest))

    @web.page("GET", "/<path:path>")
    def own_boot_file(self, request: Request, path: str) -> Response:
        asked = path.removeprefix("boot/"), request.remote_addr or "", request.args.get("node_ip", "")
        return web.content(request, *self.here.own_files.find(*asked))

    @event_handler(nodes.SERVICE, nodes.NODE_WANTED)
    def on_node_wanted(self, event: dict[str, Any]) -> None:
        wanted = wire.load(nodes.NodeWanted, event)
        self.here.zone.put(wanted)
        self.here.machines.wish(wanted)

    @event_handler(nodes.SERVICE, nodes.NODE_REMOVED)
    def on_node_removed(self, event: dict[str, Any]) -> None:
        self.here.remove(wire.load(nodes.NodeRemoved, event))
