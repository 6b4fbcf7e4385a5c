"""bootserver's lines of `walt doctor`. Pure."""

from __future__ import annotations

from pathlib import Path

from services.contracts.health import FAIL, OK, WARN, Check

LITTLE_SPACE_BYTES = 2 * 2**30


def nfs(fault: str, server: str) -> Check:
    if not fault:
        return Check("NFS server", OK, f"answers at {server}, and exports what nodes boot")
    return Check(
        "NFS server",
        FAIL,
        f"does not serve at {server}: {fault}",
        "nodes cannot boot, and the running ones wait when they read what they had not read before",
        "look at the log of the nfs process; packages nfs-ganesha and nfs-ganesha-vfs must be installed, and the images be "
        "on ext4 or xfs",
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
    mend = f"its user removes it: walt image remove {name}" if "/" in name else "build it: deploy/images/build NAME"
    return Check(f"image {name}", FAIL, fault, "its nodes cannot boot", mend)


def space(folder: Path, free_bytes: int) -> Check:
    found = f"{free_bytes / 2**30:.1f} GiB free in {folder}"
    if free_bytes >= LITTLE_SPACE_BYTES:
        return Check("space for images", OK, found)
    return Check("space for images", WARN, found, "the next image may not fit", "free some space there")
