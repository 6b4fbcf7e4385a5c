"""Which of the modules that experiments commonly wish for the kernel of an image lacks."""

from __future__ import annotations

from pathlib import Path

from services.bootserver.image_kernel import chroot_paths, initrd

# Debian's cloud kernel lacks the first line, its full one only hsr.
WISHED = (
    *("vcan", "batman_adv", "mac80211_hwsim", "ppp_generic", "ieee802154", "gtp", "hsr"),
    *("8021q", "bonding", "macvlan", "mpls_router", "openvswitch", "sctp", "tun", "vxlan", "wireguard"),
)
LIMIT_BYTES = 20_000_000  # of an index; that of Debian's full kernel has 600 KB


def lacking(tree: Path, version: str) -> tuple[str, ...]:
    there = {*_names(tree, version, "modules.dep"), *_names(tree, version, "modules.builtin")}
    return tuple(name for name in WISHED if name not in there)


def _names(tree: Path, version: str, index: str) -> set[str]:
    """Of the modules in that index: its lines are their paths, and what they need after a colon."""
    file = chroot_paths.find_file(tree, f"lib/modules/{version}/{index}")
    if file is None:
        return set()
    with open(file, "rb") as content:
        text = content.read(LIMIT_BYTES).decode(errors="replace")
    return {initrd.module_name(line.partition(":")[0]) for line in text.splitlines()}
