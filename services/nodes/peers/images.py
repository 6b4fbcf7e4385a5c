"""Of bootserver: the full name of an image that a user means, and how many he has."""

from __future__ import annotations

import logging

from services.kit.bus.bus import Bus
from services.nodes.domain.accounts import Account
from services.nodes.peers.agents import ANSWER_S
from walt.contracts import bootserver, serialization
from walt.contracts.bootserver import DEFAULT_IMAGE, ImageUse, ImageView
from walt.contracts.errors import Unreachable, WaltError
from walt.contracts.nodes import Owner

log = logging.getLogger(__name__)


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


def count_images(bus: Bus, account: Account) -> dict[str, int]:
    """{field of UserLimits: how much}; empty while bootserver does not answer."""
    arguments = {"user": account.name, "account": account.id}
    try:
        found = bus.call(bootserver.SERVICE, "count_images", timeout_s=ANSWER_S, **arguments)
    except WaltError as error:
        log.info("the images of %s cannot be counted: %s", account.name, error)
        return {}
    use = serialization.load(ImageUse, found)
    return {"images": use.images, "image_bytes": use.image_bytes}
