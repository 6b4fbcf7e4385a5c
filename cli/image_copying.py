"""`walt image cp`, and what else is sent to the image store: files and directories of this computer, by tar."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

from cli.archive import pack, pack_build, pack_whole, unpack
from cli.copying import Copy, Place, check_here, check_left_out, local_target
from cli.transfer import Download, Upload
from services.contracts.bootserver import BUILD, FILES
from services.contracts.errors import Failed, InvalidRequest

_IMAGE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)?[a-z][a-z0-9._-]*")


def parse(sources: Sequence[str], target: str) -> Copy:
    """Pure."""
    copy = Copy(tuple(_place(one) for one in sources), _place(target))
    in_images = [bool(one.node) for one in copy.sources]
    if bool(copy.target.node) == any(in_images) or any(in_images) != all(in_images):
        raise InvalidRequest(f"one side of '{' '.join([*sources, target])}' has to be IMAGE:PATH, and only one")
    return copy


def _place(text: str) -> Place:
    """'alice/exp:/etc' is in an image; a file of ours with ':' in its name is './a:b'."""
    image, colon, path = text.partition(":")
    if not text:
        raise InvalidRequest("'' is not a path; allowed: a path of this computer, or IMAGE:PATH")
    return Place(image, path or "/") if colon and _IMAGE.fullmatch(image) else Place("", text)


def run(client: Any, copy: Copy) -> dict[str, Any]:
    """What it has changed; {} for a copy out of an image."""
    check_here(copy)
    changed: dict[str, Any] = {}
    for source in copy.sources:
        if copy.target.node:
            changed = _send(client, source, copy)
        else:
            _fetch(client, source, copy)
    return changed


def send_whole(client: Any, path: str, **what: Any) -> dict[str, Any]:
    """A tar as it is, or a directory: with all below it, or of a build what is part of it."""
    try:
        with Upload(client, f"sending {path}", **what) as upload:
            if what["purpose"] == BUILD:
                pack_build(path, upload)
            elif os.path.isdir(path):
                pack_whole(path, upload)
            else:
                with open(path, "rb") as file:
                    shutil.copyfileobj(file, upload)
            return upload.finish()
    except OSError as error:
        raise Failed(f"'{error.filename or path}' cannot be read: {error.strerror or error}") from error


def _send(client: Any, source: Place, copy: Copy) -> dict[str, Any]:
    path = copy.target.path
    if copy.needs_directory and not path.endswith("/"):
        path += "/"
    what = {"purpose": FILES, "image": copy.target.node, "path": path, "name": source.name}
    try:
        with Upload(client, f"to {copy.target.node}", **what) as upload:
            left_out = pack(source.path, upload)
            changed = upload.finish()
    except OSError as error:
        raise Failed(f"'{error.filename or source.path}' cannot be read: {error.strerror or error}") from error
    check_left_out(left_out)
    return changed


def _fetch(client: Any, source: Place, copy: Copy) -> None:
    target = local_target(copy, source)
    beside = target if os.path.isdir(target) else os.path.dirname(target) or "."
    try:
        with tempfile.TemporaryDirectory(prefix=".walt-cp-", dir=beside, ignore_cleanup_errors=True) as stage:
            with Download(client, f"from {source.node}", source.node, source.path) as download:
                unpacked = unpack(download, stage)
            unpacked.settle(target)
    except OSError as error:
        raise Failed(f"'{target}' cannot be written: {error.strerror or error}") from error
    check_left_out([f"{source.node}:{source.path}/{name}" for name in unpacked.left_out])
