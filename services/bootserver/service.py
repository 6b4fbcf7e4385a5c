"""bootserver: OS images, boot plans, names on walt-net, and "this node has booted".

Owns:      the image store, the boot record of every node, the ssh keys of platform and nodes, the names of nodes,
           the /persist disks and the state of physical machines.
Serves:    to users get_images, save_image, import_image, clone_image, rename_image, remove_image, and for long work
           and large data open_upload, write_upload, finish_upload, open_download, read_download, close_transfer,
           follow_job;
           to services publish_boot, open_access, check_image, count_images, persist_bytes, drop_persist_folder,
           list_machines, get_addresses, diagnose;
           over HTTP /boot/NODE/script.ipxe, /boot/NODE/seed.tar and /boot/NODE/copying (each to that node only),
           /boot/files/SHA256/NAME, /boot/machine.ipxe?mac=MAC (for the ROM of a machine), and any other path: a file
           beside the boot script of an image, to the node that boots it. vmrunner, which requests them for its nodes,
           names the node: ?node_ip=ADDRESS.
Announces: NODE_BOOTED, once per boot (and again when this service starts): its ssh server answers. Probed from here, so
           that an image needs nothing special. NODE_REACHABLE, when a booted virtual node falls silent or answers
           again. NODE_COPYING, while a node copies its image to its disk.
           MACHINE_CHANGED, MACHINE_REMOVED of physical nodes.
Asks:      nodes get_account, get_accounts, get_limits, check_administrator (whose images are whose), authorize,
           and register_machine, when a machine boots; console run_command, to reboot it, and to set the addresses of
           running nodes.
Hears:     nodes NODE_WANTED (names; addresses on networks of users, live; boots and power-offs of physical nodes),
           NODE_REMOVED (forget it), HOSTS_CHANGED (whose vmrunner may load boot files); asks nodes get_specs and
           get_hosts at start and now and then, in case an event was lost.

The disk server of physical machines and the name server are processes of their own (`persist/aoe_server.py`,
`dns/dnsmasq.py`), so that a restart of this one neither blocks a machine nor leaves nodes without names.

Environment: WALT_IMAGES_DIR (default /var/cache/walt/images), WALT_PLATFORM_IMAGES ("default=FOLDER,small=FOLDER",
folders of WALT_IMAGES_DIR), WALT_USER_IMAGES (default users: a folder there for the images of users),
WALT_IMAGE_SOURCES (what users may take from the Docker Engine, see docker_images/docker_sources.py; default: none),
WALT_HTTP_ADDRESS (default 0.0.0.0:80), and the common WALT_SUBNET, WALT_STATE_DIR.
"""

from __future__ import annotations

from typing import Annotated

from marshmallow.validate import Range
from werkzeug.wrappers import Request, Response

from services.bootserver.app import BootserverApp
from services.bootserver.dns import dnsmasq
from services.kit.bus.app import AppProvider
from services.kit.bus.call_metrics import Metrics
from services.kit.bus.entrypoints import Caller, for_agents, internal, on_event, public
from services.kit.web import pages
from services.kit.web.pages import page
from walt.contracts import bootserver, hosts, nodes
from walt.contracts.bootserver import (
    BootPlan,
    BootRequest,
    ImageChanged,
    ImageUse,
    ImageView,
    JobView,
    NodeAccess,
    SetAddresses,
)
from walt.contracts.checks import Check
from walt.contracts.hosts import HostAddresses
from walt.contracts.nodes import NodeRemoved, NodeWanted, Owner
from walt.contracts.vmrunner import VmReport

Offset = Annotated[int, Range(min=0, max=2**63 - 1)]


class BootserverService:
    name = bootserver.SERVICE
    app: BootserverApp = AppProvider(BootserverApp)
    caller = Caller()
    metrics = Metrics()

    @for_agents
    def publish_boot(self, request: BootRequest) -> BootPlan:
        self.app.check_is_on(self.caller, request.node_id, request)
        return self.app.boots.publish(request)

    @for_agents
    def open_access(self, node_id: int) -> NodeAccess:
        self.app.check_is_on(self.caller, node_id)
        return self.app.open_access(node_id)

    @internal
    def check_image(self, name: str, user: str = "", account: str = "") -> ImageView:
        return self.app.check_image(name, Owner(user, account))

    @internal
    def count_images(self, user: str, account: str) -> ImageUse:
        return self.app.count_images(Owner(user, account))

    @public
    def get_images(self, former: bool = False) -> list[ImageView]:
        return self.app.get_images(self.caller, former)

    @public
    def save_image(self, node: str, name: str, force: bool = False) -> str:
        return self.app.saver.save(self.app.image_users.identify(self.caller), node, name, force)

    @public
    def import_image(self, reference: str, name: str = "", force: bool = False) -> str:
        return self.app.importer.import_image(self.app.image_users.identify(self.caller), reference, name, force)

    @public
    def open_upload(self, purpose: str, image: str, path: str = "", name: str = "", force: bool = False) -> str:
        return self.app.importer.open_upload(
            self.app.image_users.identify(self.caller), purpose, image, path, name, force
        )

    @public
    def write_upload(self, upload: str, offset: Offset, data: str) -> None:
        self.app.transfers.write(self.caller, upload, offset, data)

    @public
    def finish_upload(self, upload: str) -> str:
        return self.app.importer.finish_upload(self.app.image_users.identify(self.caller), upload)

    @public
    def open_download(self, image: str, path: str) -> str:
        return self.app.importer.open_download(self.app.image_users.identify(self.caller), image, path)

    @public
    def read_download(self, job: str, offset: Offset) -> str:
        return self.app.transfers.read(self.caller, job, offset)

    @public
    def close_transfer(self, transfer: str) -> None:
        self.app.transfers.close(self.caller, transfer)

    @public
    def follow_job(self, job: str, seen: Offset = 0) -> JobView:
        return self.app.jobs.view(self.caller, job, seen)

    @public
    def clone_image(self, image: str, name: str, force: bool = False) -> ImageChanged:
        return self.app.catalogue.clone(self.app.image_users.identify(self.caller), image, name, force)

    @public
    def rename_image(self, image: str, name: str) -> ImageChanged:
        return self.app.catalogue.rename(self.app.image_users.identify(self.caller), image, name)

    @public
    def remove_image(self, image: str, force: bool = False) -> None:
        self.app.catalogue.remove(self.app.image_users.identify(self.caller), image, force)

    @internal
    def persist_bytes(self, node_id: int) -> dict[str, int]:
        return self.app.persist.bytes_used(node_id)

    @for_agents
    def drop_persist_folder(self, node_id: int, owner: str, account: str) -> None:
        self.app.check_is_on(self.caller, node_id)
        self.app.persist.drop(node_id, Owner(owner, account))

    @internal
    def list_machines(self) -> list[VmReport]:
        return self.app.machines.reports()

    @internal
    def get_addresses(self, node_ids: list[int]) -> list[SetAddresses]:
        return self.app.addresses.views(node_ids)

    @internal
    def diagnose(self) -> list[Check]:
        return self.app.diagnose()

    @page("GET", dnsmasq.BOOT_PAGE)
    def machine_script(self, request: Request) -> Response:
        return pages.text(self.app.pxe.script(request.args.get("mac", ""), request.remote_addr or ""))

    @page("GET", "/boot/<int:node_id>/script.ipxe")
    def boot_script(self, request: Request, node_id: int) -> Response:
        return pages.text(self.app.payload.script(node_id, self._node_address(request)))

    @page("GET", "/boot/<int:node_id>/seed.tar")
    def boot_seed(self, request: Request, node_id: int) -> Response:
        return pages.data(self.app.payload.seed(node_id, request.remote_addr or ""))

    @page("GET", "/boot/<int:node_id>/copying")
    def boot_copying(self, request: Request, node_id: int) -> Response:
        self.app.payload.report_copy_progress(node_id, request.remote_addr or "")
        return pages.text("")

    @page("GET", "/boot/files/<digest>/<name>")
    def boot_file(self, request: Request, digest: str, name: str) -> Response:
        return pages.content(request, digest, self.app.boot_file(digest, name, self._node_address(request)))

    @page("GET", "/<path:path>")
    def image_boot_file(self, request: Request, path: str) -> Response:
        found = self.app.own_script_files.find(path.removeprefix("boot/"), self._node_address(request))
        return pages.content(request, *found)

    def _node_address(self, request: Request) -> str:
        return self.app.node_address(request.remote_addr or "", request.args.get("node_ip", ""))

    @on_event(nodes.SERVICE, nodes.NODE_WANTED)
    def on_node_wanted(self, spec: NodeWanted) -> None:
        self.app.apply_spec(spec)

    @on_event(nodes.SERVICE, hosts.HOSTS_CHANGED)
    def on_hosts_changed(self, addresses: HostAddresses) -> None:
        self.app.take_hosts(addresses)

    @on_event(nodes.SERVICE, nodes.NODE_REMOVED)
    def on_node_removed(self, removed: NodeRemoved) -> None:
        self.app.remove(removed)
