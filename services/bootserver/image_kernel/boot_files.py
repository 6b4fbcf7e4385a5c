"""The three files that boot an image. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BootFiles:
    """Kernel, initrd and root, each named by the SHA-256 of its content in hexadecimal. root: the image as a
    read-only file system of the type `root_format`, `root_bytes` long."""

    kernel: str
    initrd: str
    root: str
    root_format: str
    root_bytes: int
