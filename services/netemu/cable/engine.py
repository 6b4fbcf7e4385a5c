"""The machine code of the cable, if it was built (deploy/cable_build.py).

It is made of the same modules, with the types that the .pxd file beside each of them declares (Cython in its pure
Python mode). The name of its folder is a digest of these sources and of the Python that it is for: code of another
version is never run, whatever was updated in which order.
"""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path

import services.netemu.cable as package

COMPILED = ("fairness", "frames", "impairments", "lanes", "model", "switch")
SOURCES = Path(__file__).parent
BUILD = SOURCES.parents[2] / "build" / "cable"


def compiled_folder() -> Path:
    """For these sources and this Python; it need not exist."""
    digest = hashlib.sha256(str(sysconfig.get_config_var("EXT_SUFFIX")).encode())
    for name in COMPILED:
        for suffix in (".py", ".pxd"):
            digest.update((SOURCES / f"{name}{suffix}").read_bytes())
    return BUILD / digest.hexdigest()[:16]


def prefer_compiled() -> bool:
    """Whether there is machine code; then modules of it are imported from now on in place of those of the sources."""
    modules = compiled_folder()
    if not modules.is_dir():
        return False
    package.__path__.insert(0, str(modules))
    return True
