"""Tap devices: the ioctls of /dev/net/tun (linux/if_tun.h)."""

from __future__ import annotations

import fcntl
import os
import struct

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOWNER = 0x400454CC
_TUNSETOFFLOAD = 0x400454D0
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_OFFLOADS = 0x01 | 0x02 | 0x04 | 0x08  # checksum, TSO4, TSO6, TSO with ECN

VNET_HEADER_BYTES = 10


def open_tap(name: str, *, blocking: bool = False) -> int:
    """A descriptor of the tap, whose frames carry a virtio_net_hdr; a tap that does not exist is made, and goes with
    the descriptor. OSError."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | (0 if blocking else os.O_NONBLOCK))
    try:
        request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def set_offload(descriptor: int, offload: bool) -> None:
    """Whether the kernel may pass us frames that it has neither segmented nor checksummed."""
    fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _OFFLOADS if offload else 0)


def set_owner(descriptor: int, uid: int) -> None:
    """Only this user, and who has CAP_NET_ADMIN, may open the tap."""
    fcntl.ioctl(descriptor, _TUNSETOWNER, uid)


def make_persistent(descriptor: int) -> None:
    """The tap outlives its descriptors."""
    fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
