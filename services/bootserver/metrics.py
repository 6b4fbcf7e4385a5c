"""What Prometheus learns of bootserver."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

BOOTS = Counter("walt_boots_total", "Boots published")
BOOT_SECONDS = Histogram(
    "walt_boot_seconds",
    "Seconds from a boot's publication to the greeting of the node's ssh server",
    buckets=(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45, 60, 90, 120, 180, 300),
)
NFS_UP = Gauge("walt_nfs_up", "1 when the NFS server answered the last time it was asked")
IMAGES = Gauge("walt_images", "OS images in the store")
