"""What `walt doctor` is told of bootserver: the world and the stores are looked at, `health.py` finds the words."""

from __future__ import annotations

import shutil

from services.bootserver import health
from services.bootserver.bootplan import Site
from services.bootserver.boots import World
from services.bootserver.images import ImageStore
from services.bootserver.stores import Stores
from services.contracts.errors import Failed
from services.contracts.health import Check


def diagnose(site: Site, stores: Stores, world: World) -> list[Check]:
    images = stores.images
    return [
        health.nfs(world.nfs_fault(stores.persist.image_paths()), site.server),
        health.dns(world.dns_fault(), site.server),
        *(health.image(name, _image_fault(images, name)) for name in images.names()),
        health.space(images.folder, shutil.disk_usage(images.folder).free),
    ]


def _image_fault(images: ImageStore, name: str) -> str:
    try:
        images.find(name)
    except Failed as fault:
        return str(fault)
    return ""
