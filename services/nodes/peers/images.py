"""The full name of an image that a user means, from bootserver."""

from __future__ import annotations

from services.kit.bus.bus import Bus
from services.nodes.peers.agents import ANSWER_S
from walt.contracts import bootserver, serialization
from walt.contracts.bootserver import DEFAULT_IMAGE, ImageView
from walt.contracts.errors import Unreachable, WaltError
from walt.contracts.nodes import Owner


def resolve_image(bus: Bus, image: str, user: Owner) -> tuple[str, list[WaltError]]:
    """The full name, and why the image cannot be used. The default image is the platform's, so it may be named while
    bootserver is away."""
    try:
        view = bus.call(
            bootserver.SERVICE, "check_image", timeout_s=ANSWER_S, name=image, user=user.name, account=user.account
        )
    except WaltError as error:
        may_assume_default = isinstance(error, Unreachable) and image == DEFAULT_IMAGE
        return image, [] if may_assume_default else [error]
    return serialization.load(ImageView, view).name, []
