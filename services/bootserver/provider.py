"""Makes the one `Boots` of this process from its environment, and gives it to the entry points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.bootserver import bootplan, nfsping, watch
from services.bootserver.boots import Boots, World
from services.bootserver.images import ImageStore, parse_platform_images
from services.bootserver.nfs import IMAGES_DIR
from services.contracts.bootserver import NODE_BOOTED
from services.kit.environment import environment, variable
from services.kit.peers import Announcer

HTTP_ADDRESS = "0.0.0.0:80"


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

    def stop(self) -> None:
        self._boots.stop()

    def get_dependency(self, worker_ctx: Any) -> Any:
        return self._boots
