"""What `walt doctor` shows of bootserver: its servers (disks, names, time), its images, and the space for more."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from services.bootserver.boot.boots import Probes
from services.bootserver.images.store import ImageStore
from services.bootserver.site import Site
from services.kit import registry_guard
from walt.contracts.checks import FAIL, OK, WARN, Check
from walt.contracts.errors import Failed

LITTLE_SPACE_BYTES = 2 * 2**30


def diagnose(site: Site, images: ImageStore, probes: Probes, registry_fault: str) -> list[Check]:
    consequence = "names and machines of walt-net stay as they are, and nothing of a node is removed"
    return [
        registry_guard.diagnosis(registry_fault, "names, machines and /persist", consequence),
        persist(probes.persist_fault()),
        dns(probes.dns_fault(), site.server),
        ntp(probes.ntp_fault(), site.server),
        *image_checks({name: _image_fault(images, name) for name in images.names()}, images.folder),
        space(images.folder, shutil.disk_usage(images.folder).free),
    ]


def _image_fault(images: ImageStore, name: str) -> str:
    try:
        images.find(name)
    except Failed as error:
        return str(error)
    return ""


def persist(fault: str) -> Check:
    if not fault:
        return Check("disks of machines", OK, "served")
    return Check(
        "disks of machines",
        FAIL,
        fault,
        "physical nodes with an owner cannot boot; running ones wait when they use /persist",
        "look at the log of the persist process; package vblade must be installed",
    )


def dns(fault: str, server: str) -> Check:
    consequence = "nodes do not know each other by name"
    fix = "look at the log of the dns process; package dnsmasq-base must be installed"
    return _answering("DNS server", fault, server, consequence, fix)


def ntp(fault: str, server: str) -> Check:
    consequence = "the clocks of nodes differ by up to a second after a boot, and drift apart"
    return _answering("time server", fault, server, consequence, "look at the log of the ntp process")


def _answering(subject: str, fault: str, server: str, consequence: str, fix: str) -> Check:
    """server: its address; consequence, fix: of a fault."""
    if not fault:
        return Check(subject, OK, f"answers at {server}")
    return Check(subject, FAIL, f"does not answer at {server} ({fault})", consequence, fix)


def image_checks(faults: Mapping[str, str], folder: Path) -> list[Check]:
    """faults: by name of the image; "": none. Several that are missing, as after the loss of a disk, are one line."""
    platform = {name: fault for name, fault in faults.items() if fault and "/" not in name}
    of_users = {name: fault for name, fault in faults.items() if fault and "/" in name}
    return [
        *(Check(f"image {name}", OK, "present") for name, fault in faults.items() if not fault),
        *_missing(platform, folder, "deploy/images/build NAME builds one"),
        *_missing(of_users, folder, "its user removes it: walt image remove NAME"),
    ]


def _missing(faults: Mapping[str, str], folder: Path, fix: str) -> list[Check]:
    if not faults:
        return []
    names = ", ".join(faults)
    if len(faults) == 1:
        return [Check(f"image {names}", FAIL, faults[names], "its nodes cannot boot", fix)]
    found = f"missing in {folder}, or without a boot/vmlinuz* and its modules"
    return [Check(f"images {names}", FAIL, found, "their nodes cannot boot", fix)]


def space(folder: Path, free_bytes: int) -> Check:
    found = f"{free_bytes / 2**30:.1f} GiB free in {folder}"
    if free_bytes >= LITTLE_SPACE_BYTES:
        return Check("space for images", OK, found)
    return Check("space for images", WARN, found, "the next image may not fit", "free some space there")
