"""Prometheus metrics of boots."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from services.contracts.vmrunner import BOOTED, BOOTING, FAILED
from services.vmrunner.lifecycle import NO_BOOT_WITHIN, Machine

BOOTS = Counter("walt_vm_boots_total", "Boots by how they went", ["outcome"])
BOOT_SECONDS = Histogram(
    "walt_vm_boot_seconds",
    "From qemu's start until ssh answers",
    buckets=(1, 2, 4, 6, 8, 10, 12, 15, 20, 30, 45, 60, 120, 300),
)


def count(old: Machine, new: Machine) -> None:
    """A boot ends booted, timed out or ended (before it was booted); a power-on that the host refused is failed."""
    if new.state == BOOTED:
        BOOTS.labels("booted").inc()
        BOOT_SECONDS.observe(max(0.0, new.since - new.powered_at))
    elif new.state == FAILED and new.due:
        BOOTS.labels("failed").inc()
    elif old.state == BOOTING:
        BOOTS.labels("timed_out" if new.reason.startswith(NO_BOOT_WITHIN) else "ended").inc()
