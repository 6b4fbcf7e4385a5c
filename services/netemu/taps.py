"""Tap devices: the few ioctls of /dev/net/tun (linux/if_tun.h)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOWNER = 0x400454CC
_TUNSETOFFLOAD = 0x400454D0
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_OFFLOADS = 0x01 | 0x02 | 0x04 | 0x08  # checksum, TSO4, TSO6, TSO with ECN

VNET_HEADER_BYTES = 10


def open_tap(name: str, *, offload: bool = False) -> int:
    """A non-blocking descriptor of the tap, which is made when it does not exist."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
        set_offload(descriptor, offload)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def set_offload(descriptor: int, offload: bool) -> None:
    """Whether the kernel may hand us frames it has neither cut to size nor given their checksum; else it does so."""
    fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _OFFLOADS if offload else 0)


@contextlib.contextmanager
def made_tap(name: str, owner_uid: int | None = None) -> Iterator[None]:
    """A tap that stays, once the block has ended well; until then it goes with this process, however that ends.

    owner_uid may open it without privileges.
    """
    descriptor = open_tap(name)
    try:
        if owner_uid is not None:
            fcntl.ioctl(descriptor, _TUNSETOWNER, owner_uid)
        yield
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    finally:
        os.close(descriptor)
