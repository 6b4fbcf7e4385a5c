"""bootserver's boots and HTTP pages without a broker, run in a network namespace by test_netboot.

Each line of standard input is a BootRequest to publish, answered by a line with the NodeAccess of the node; a
NodeBooted follows when the node has booted.

    python -m tests.system.netboot_server STATE IMAGE_FOLDER
"""

import eventlet

eventlet.monkey_patch()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import eventlet.tpool  # noqa: E402
import eventlet.wsgi  # noqa: E402
from werkzeug.wrappers import Request, Response  # noqa: E402

from services.bootserver.boot import ssh_probe  # noqa: E402
from services.bootserver.boot.boot_payload import BootPayload  # noqa: E402
from services.bootserver.boot.boot_records import BootRecordStore  # noqa: E402
from services.bootserver.boot.boots import BootReports, Boots, BootStores, Probes  # noqa: E402
from services.bootserver.boot.ssh_keys import KeyStore  # noqa: E402
from services.bootserver.images.image_records import ImageRecords  # noqa: E402
from services.bootserver.images.store import ImageStore  # noqa: E402
from services.bootserver.persist.persist_store import PersistStore  # noqa: E402
from services.bootserver.site import make_site  # noqa: E402
from services.kit.web import pages  # noqa: E402
from walt.contracts import serialization  # noqa: E402
from walt.contracts.bootserver import BootRequest  # noqa: E402

SUBNET, HTTP_PORT = "192.168.172.0/22", 80


def main(state: Path, tree: Path) -> None:
    site = make_site(SUBNET, HTTP_PORT)
    images = ImageStore(tree.parent, {"small": tree.name}, ImageRecords(state, "users"), state / "images")
    probes = Probes(lambda: "", lambda: "", lambda: "", ssh_probe.sends_banner, ssh_probe.is_up)
    stores = BootStores(images, BootRecordStore(state / "plans"), KeyStore(state / "keys"), PersistStore(state))
    reports = BootReports(lambda event: answer(serialization.dump(event)), lambda event: True)
    boots = Boots(site, stores, probes, reports)
    payload = BootPayload(site, images, stores.records, stores.keys, stores.persist.device, lambda event: None)

    @Request.application
    def serve(request: Request) -> Response:
        match request.path.strip("/").split("/"):
            case ["boot", "files", digest, _]:
                return pages.content(request, digest, images.boot_file(digest))
            case ["boot", node_id, "seed.tar"]:
                return pages.data(payload.seed(int(node_id), request.remote_addr or ""))
            case ["boot", node_id, "copying"]:
                payload.report_copy_progress(int(node_id), request.remote_addr or "")
                return pages.text("")
            case ["boot", node_id, "script.ipxe"]:
                address = site.node_address(request.remote_addr or "", request.args.get("node_ip", ""))
                return pages.text(payload.script(int(node_id), address))
        return Response(status=404)

    eventlet.spawn(eventlet.wsgi.server, eventlet.listen(("0.0.0.0", HTTP_PORT)), serve, log_output=False)
    while line := eventlet.tpool.execute(sys.stdin.readline):
        boot = serialization.load(BootRequest, json.loads(line))
        boots.publish(boot)
        answer(serialization.dump(stores.keys.access(boot.node_id, boot.ip)))


def answer(value: dict) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
