"""For processes that handle what users have made: from this call on they are a user without rights. Few imports."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping

NOBODY = 65534


def give_up_rights(uid: int, limits: Mapping[int, int]) -> None:
    """uid: also of the group; there are no others. limits: {resource.RLIMIT_…: value}"""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
