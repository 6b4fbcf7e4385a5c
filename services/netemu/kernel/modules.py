"""The kernel modules that the back-ends need."""

from __future__ import annotations

import contextlib

from services.kit.subprocesses import run
from walt.contracts.errors import Failed

NETEM_MODULES = ("tun", "bridge", "sch_netem", "ifb", "act_mirred", "cls_u32", "sch_ingress")


def load_modules() -> None:
    """Best effort: they may be built in, or there may be no modules at all; a probe shows what works."""
    for module in NETEM_MODULES:
        with contextlib.suppress(Failed):
            run(["modprobe", "-q", module])
