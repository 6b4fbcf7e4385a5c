"""Makes the one `Boots` of this process from its environment, and gives it to the entry points."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import eventlet

from services.bootserver import bootplan, nfsping, watch
from services.bootserver.boots import Boots, World
from services.bootserver.images import ImageStore, parse_platform_images
from services.bootserver.nfs import IMAGES_DIR
from services.contracts import nodes
from services.contracts.bootserver import NODE_BOOTED
from services.contracts.errors import WaltError
from services.kit import peers
from services.kit.environment import environment, variable
from services.kit.peers import Announcer

HTTP_ADDRESS = "0.0.0.0:80"
RECONCILE_EVERY_S = 300.0  # an event may be lost
RETRY_S = 2.0

log = logging.getLogger(__name__)


class BootsProvider(Announcer):
    """An `Announcer`, because a boot ends outside of any call."""

    def setup(self) -> None:
        env = environment()
        state = env.state_dir / "bootserver"
        site = bootplan.site(env.subnet, variable("WALT_HTTP_ADDRESS", HTTP_ADDRESS))
        images = ImageStore(
            Path(variable("WALT_IMAGES_DIR", IMAGES_DIR)),
            parse_platform_images(variable("WALT_PLATFORM_IMAGES", "")),
            state / "images",
        )
        self._boots = Boots(
            site,
            images,
            state,
            World(lambda: nfsping.ping(site.server), lambda address: watch.greets(address)),
            lambda event: self.announce(NODE_BOOTED, event),
        )

    def start(self) -> None:
        self._boots.start()
        self.container.spawn_managed_thread(self._reconcile_for_ever, identifier="reconcile")

    def stop(self) -> None:
        self._boots.stop()

    def get_dependency(self, worker_ctx: Any) -> Any:
        return self._boots

    def _reconcile_for_ever(self) -> None:
        """Forget what was here before asking and is nobody's."""
        while True:
            pause_s = RECONCILE_EVERY_S
            try:
                known = self._boots.known()
                wanted = peers.call(nodes.SERVICE, "wanted_everywhere")
                self._boots.forget_all(known - {one["id"] for one in wanted})
            except WaltError as error:
                log.warning("not reconciled yet: %s", error)
                pause_s = RETRY_S
            eventlet.sleep(pause_s)
