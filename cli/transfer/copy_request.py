"""What a copy is asked to do: sources and a destination, one side of it on a node or in an image."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from walt.contracts.errors import Failed, NotFound

from .unpack import Destination


@dataclass(frozen=True)
class CopyPath:
    """remote: the node or image that the path is in, "" for this computer."""

    remote: str
    path: str

    @property
    def name(self) -> str:
        """The name of the copy in a directory; "" when only the content of a directory is copied."""
        name = posixpath.basename(posixpath.normpath(self.path)) if self.path else ""
        return "" if name in (".", "..") else name


@dataclass(frozen=True)
class CopyRequest:
    """Several sources, one destination; either all sources or the destination are on this computer."""

    sources: tuple[CopyPath, ...]
    target: CopyPath

    @property
    def nodes(self) -> list[str]:
        return list(dict.fromkeys(one.remote for one in (*self.sources, self.target) if one.remote))

    @property
    def needs_directory(self) -> bool:
        return len(self.sources) > 1 or self.target.path.endswith("/")


def check_local_paths(request: CopyRequest) -> None:
    """Refuse what can be known to fail before any service is asked."""
    for source in request.sources:
        if request.target.remote and not os.path.lexists(source.path):
            raise NotFound(f"there is no file '{source.path}' on this computer")
    if not request.target.remote:
        local_destination(request, request.sources[0])


def local_destination(request: CopyRequest, source: CopyPath) -> Destination:
    """Where a source goes on this computer: into the directory that the target is, else under its name."""
    path = request.target.path
    folder, name = os.path.split(path)
    if os.path.isdir(path):
        if os.path.islink(path):  # perhaps one that an earlier copy has brought
            raise Failed(f"'{path}' is a link; allowed: '{path}/' for the directory that it leads to")
        return Destination(path, source.name)
    if request.needs_directory:
        if os.path.lexists(path):
            raise Failed(f"'{path}' is not a directory")
        raise NotFound(f"there is no directory '{path}' on this computer")
    if not os.path.isdir(folder or "."):
        raise NotFound(f"there is no directory '{folder}' on this computer")
    return Destination(folder or ".", name)


def check_left_out(paths: Sequence[str]) -> None:
    if paths:
        raise Failed(*(f"'{path}' is neither a file, directory nor link: it was left out" for path in paths))
