"""Persistent tap devices."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from services.kit import tun


@contextlib.contextmanager
def persistent_tap(name: str) -> Iterator[None]:
    """A tap that is persistent only once the block has ended well: if we are killed before, it goes with us.

    It is for our own user and for CAP_NET_ADMIN: one without an owner may be opened by everybody in its namespace.
    """
    descriptor = tun.open_tap(name)
    try:
        tun.set_offload(descriptor, False)
        tun.set_owner(descriptor, os.geteuid())
        yield
        tun.make_persistent(descriptor)
    finally:
        os.close(descriptor)
