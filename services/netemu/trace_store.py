"""The files of traces beside the cable, which follows them: fetched from nodes before a link names one.

A trace of an id never changes, so a file is written once, and stays for as long as a port or a spec names it: a cable
that starts again needs it while nodes may not answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from services.kit.files import write_atomically
from services.netemu.cable.protocol import traces_folder
from services.netemu.cable.trace import encode
from walt.contracts import nodes, serialization, traces
from walt.contracts.links import LinkModel
from walt.contracts.traces import TraceContent

UNUSED_S = 600.0


class TraceStore:
    """call: of the bus."""

    def __init__(self, run_dir: Path, call: Callable[..., Any]) -> None:
        self._folder = traces_folder(run_dir)
        self._call = call

    def fetch(self, links: Iterable[LinkModel]) -> None:
        """Have the traces of these links; Failed while nodes does not answer."""
        for number in sorted(named(links)):
            path = self._folder / str(number)
            try:
                os.utime(path)
            except FileNotFoundError:
                reply = self._call(nodes.SERVICE, "get_trace", trace=number)
                content = serialization.load(TraceContent, reply)
                self._folder.mkdir(parents=True, exist_ok=True)
                write_atomically(path, encode(traces.read(content.text).columns, content.loops, content.start_us))

    def keep(self, links: Iterable[LinkModel]) -> None:
        """Only what these links name, or what was fetched a moment ago for one that does not yet."""
        kept, oldest = {str(number) for number in named(links)}, time.time() - UNUSED_S
        for path in self._folder.glob("*"):
            if path.name not in kept and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


def named(links: Iterable[LinkModel]) -> set[int]:
    return {way.trace for link in links for way in (link.up, link.down)} - {0}
