"""Which of the modules that experiments commonly wish for the kernel of an image lacks."""

from __future__ import annotations

import re
from pathlib import Path

from services.bootserver.image_kernel import chroot_paths

# Debian's cloud kernel lacks the first line, its full one only hsr.
WISHED = (
    *("vcan", "batman_adv", "mac80211_hwsim", "ppp_generic", "ieee802154", "gtp", "hsr"),
    *("8021q", "bonding", "macvlan", "mpls_router", "openvswitch", "sctp", "tun", "vxlan", "wireguard"),
)
LIMIT_BYTES = 4_000_000  # of an index; that of Debian's full kernel has 600 KB
_WISHED = re.compile(rf"^(?:[^:\n]*/)?({'|'.join(WISHED).replace('_', '[-_]')})\.ko".encode(), re.MULTILINE)


def lacking(tree: Path, version: str) -> tuple[str, ...]:
    there = {*_names(tree, version, "modules.dep"), *_names(tree, version, "modules.builtin")}
    return tuple(name for name in WISHED if name not in there)


def _names(tree: Path, version: str, index: str) -> set[str]:
    """Of the wished modules in that index: its lines are paths, and what these need after a colon. A user's text: it is
    searched in linear time, as this is the process of the service."""
    file = chroot_paths.find_file(tree, f"lib/modules/{version}/{index}")
    if file is None:
        return set()
    with open(file, "rb") as content:
        found = _WISHED.findall(content.read(LIMIT_BYTES))
    return {name.decode().replace("-", "_") for name in found}
