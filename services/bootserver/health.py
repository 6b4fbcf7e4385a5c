"""What `walt doctor` shows of bootserver: its NFS and DNS servers, its images, and the space for more of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from services.bootserver.boot.boots import Probes
from services.bootserver.images.store import ImageStore
from services.bootserver.site import Site
from services.kit import registry_guard
from walt.contracts.checks import FAIL, OK, WARN, Check
from walt.contracts.errors import Failed

LITTLE_SPACE_BYTES = 2 * 2**30


def diagnose(
    site: Site, images: ImageStore, exported_paths: Sequence[str], probes: Probes, registry_fault: str
) -> list[Check]:
    consequence = "names and machines of walt-net stay as they are, and nothing of a node is removed"
    return [
        registry_guard.diagnosis(registry_fault, "names, machines and /persist", consequence),
        nfs(probes.nfs_fault(exported_paths), site.server),
        dns(probes.dns_fault(), site.server),
        *(image(name, _image_fault(images, name)) for name in images.names()),
        space(images.folder, shutil.disk_usage(images.folder).free),
    ]


def _image_fault(images: ImageStore, name: str) -> str:
    try:
        images.find(name)
    except Failed as error:
        return str(error)
    return ""


def nfs(fault: str, server: str) -> Check:
    if not fault:
        return Check("NFS server", OK, f"answers at {server}, and exports what nodes mount")
    return Check(
        "NFS server",
        FAIL,
        f"does not serve at {server}: {fault}",
        "physical nodes, and nodes whose image mounts its root by a script of its own, cannot boot; running ones wait "
        "when they read a file that they have not cached",
        "look at the log of the nfs process; packages nfs-ganesha and nfs-ganesha-vfs must be installed, the images on "
        "ext4 or xfs",
    )


def dns(fault: str, server: str) -> Check:
    if not fault:
        return Check("DNS server", OK, f"answers at {server}")
    return Check(
        "DNS server",
        FAIL,
        f"does not answer at {server} ({fault})",
        "nodes do not know each other by name",
        "look at the log of the dns process; package dnsmasq-base must be installed",
    )


def image(name: str, fault: str) -> Check:
    if not fault:
        return Check(f"image {name}", OK, "present")
    fix = f"its user removes it: walt image remove {name}" if "/" in name else "build it: deploy/images/build NAME"
    return Check(f"image {name}", FAIL, fault, "its nodes cannot boot", fix)


def space(folder: Path, free_bytes: int) -> Check:
    found = f"{free_bytes / 2**30:.1f} GiB free in {folder}"
    if free_bytes >= LITTLE_SPACE_BYTES:
        return Check("space for images", OK, found)
    return Check("space for images", WARN, found, "the next image may not fit", "free some space there")
