"""The boot side of walt-net without a broker, run in a network namespace by test_netboot: bootserver's own plan, files,
seed and watch, over HTTP. Each line of standard input is a BootRequest to publish, answered by a line: the access to
the node; one more line says that a node has booted.

    python -m tests.system.bootside STATE IMAGE_FOLDER
"""

import eventlet

eventlet.monkey_patch()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import eventlet.tpool  # noqa: E402
import eventlet.wsgi  # noqa: E402
from werkzeug.wrappers import Request, Response  # noqa: E402

from services.bootserver import bootplan, nfsping, watch, web  # noqa: E402
from services.bootserver.boots import Boots, World  # noqa: E402
from services.bootserver.images import ImageStore  # noqa: E402
from services.bootserver.library import Library  # noqa: E402
from services.bootserver.pages import Pages  # noqa: E402
from services.bootserver.stores import stores  # noqa: E402
from services.contracts import wire  # noqa: E402
from services.contracts.bootserver import BootRequest  # noqa: E402

SUBNET, HTTP_ADDRESS = "192.168.172.0/22", "0.0.0.0:80"


def main(state: Path, tree: Path) -> None:
    site = bootplan.site(SUBNET, HTTP_ADDRESS)
    images = ImageStore(tree.parent, {"small": tree.name}, Library(state, "users"), state / "images")
    world = World(lambda paths: nfsping.ping(site.server, paths), lambda: "", watch.greets)
    kept = stores(images, state)
    boots, pages = Boots(site, kept, world, lambda event: say(wire.dump(event))), Pages(site, kept, lambda news: None)

    @Request.application
    def serve(asked: Request) -> Response:
        match asked.path.strip("/").split("/"):
            case ["boot", "files", digest, _]:
                return web.content(asked, digest, images.served(digest))
            case ["boot", node_id, "seed.tar"]:
                return web.data(pages.seed(int(node_id), asked.remote_addr or ""))
            case ["boot", node_id, "image.tar"]:
                return web.stream(pages.image_tar(int(node_id), asked.remote_addr or ""))
            case ["boot", node_id, "script.ipxe"]:
                return web.text(pages.script(int(node_id), asked.remote_addr or ""))
        return Response(status=404)

    eventlet.spawn(eventlet.wsgi.server, eventlet.listen(("0.0.0.0", 80)), serve, log_output=False)
    while line := eventlet.tpool.execute(sys.stdin.readline):
        request = wire.load(BootRequest, json.loads(line))
        boots.publish(request)
        say(wire.dump(pages.access(request.node_id)))


def say(value: dict) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
