"""Prometheus: the space of folders."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from prometheus_client import Gauge

FREE = Gauge("walt_folder_free_bytes", "Space left on the file system of a folder", ["folder"])
SIZE = Gauge("walt_folder_size_bytes", "Size of the file system of a folder", ["folder"])


def watch_space(name: str, folder: Path) -> None:
    """From now on each scrape tells the space of its file system, under this name."""
    FREE.labels(name).set_function(lambda: _usage(folder)[0])
    SIZE.labels(name).set_function(lambda: _usage(folder)[1])


def _usage(folder: Path) -> tuple[float, float]:
    """(free, size); unknown while the folder is away: that must not cost the other metrics."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return math.nan, math.nan
    return usage.free, usage.total
