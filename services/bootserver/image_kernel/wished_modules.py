"""Kernel modules that experiments ask for and that small kernels leave out. Reads two indexes of bounded size."""

from __future__ import annotations

from pathlib import Path

from services.bootserver.image_kernel import chroot_paths
from services.bootserver.image_kernel.initrd import module_name

WISHED = ("vcan", "batman_adv", "mac80211_hwsim", "ppp_generic", "hsr", "ieee802154", "openvswitch", "wireguard")
INDEX_BYTES = 4 * 2**20  # Debian's full kernel has 0.5 MB


def missing(tree: Path, version: str) -> tuple[str, ...]:
    """Those of WISHED that this kernel of the image has neither as a module nor built in."""
    present = {
        module_name(path) for index in ("modules.dep", "modules.builtin") for path in _paths(tree, version, index)
    }
    return tuple(name for name in WISHED if name not in present)


def _paths(tree: Path, version: str, index: str) -> list[str]:
    file = chroot_paths.find_file(tree, f"lib/modules/{version}/{index}")
    if file is None:
        return []
    with file.open("rb") as content:
        lines = content.read(INDEX_BYTES).decode(errors="replace").splitlines()
    return [line.partition(":")[0] for line in lines]
