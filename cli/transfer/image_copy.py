"""`walt image cp`, and what else is sent to the image store: files and directories of this computer, as tar."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from typing import Any

from walt.client import Client
from walt.contracts.bootserver import BUILD, FILES, ImageChanged
from walt.contracts.errors import Failed, InvalidRequest

from .copy_request import CopyPath, CopyRequest, check_left_out, check_local_paths, local_destination
from .image_transfer import Download, Upload
from .pack import pack, pack_build, pack_root

_IMAGE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)?[a-z][a-z0-9._-]*")


def parse_request(sources: Sequence[str], target: str) -> CopyRequest:
    """Pure."""
    request = CopyRequest(tuple(map(_parse_endpoint, sources)), _parse_endpoint(target))
    in_images = [bool(one.remote) for one in request.sources]
    if bool(request.target.remote) == any(in_images) or any(in_images) != all(in_images):
        raise InvalidRequest(f"one side of '{' '.join([*sources, target])}' has to be IMAGE:PATH, and only one")
    return request


def _parse_endpoint(text: str) -> CopyPath:
    """'alice/exp:/etc' is in an image, './a:b' on this computer."""
    image, colon, path = text.partition(":")
    if not text:
        raise InvalidRequest("'' is not a path; allowed: a path of this computer, or IMAGE:PATH")
    return CopyPath(image, path or "/") if colon and _IMAGE.fullmatch(image) else CopyPath("", text)


def run(client: Client, request: CopyRequest) -> ImageChanged | None:
    """What it has changed; None for a copy out of an image."""
    check_local_paths(request)
    changed: ImageChanged | None = None
    for source in request.sources:
        if request.target.remote:
            changed = _send(client, source, request)
        else:
            _fetch(client, source, request)
    return changed


def upload_whole(client: Client, path: str, *, purpose: str, **arguments: Any) -> ImageChanged:
    """Send a tar file as it is, or a directory: to be built without what its .dockerignore excludes, else whole."""
    try:
        with Upload(client, f"sending {path}", purpose=purpose, **arguments) as upload:
            if purpose == BUILD:
                pack_build(path, upload)
            elif os.path.isdir(path):
                pack_root(path, upload)
            else:
                with open(path, "rb") as file:
                    shutil.copyfileobj(file, upload)
            return upload.finish()
    except OSError as error:
        raise Failed(f"'{error.filename or path}' cannot be read: {error.strerror or error}") from error


def _send(client: Client, source: CopyPath, request: CopyRequest) -> ImageChanged:
    image, path = request.target.remote, request.target.path
    if request.needs_directory and not path.endswith("/"):
        path += "/"
    arguments = {"purpose": FILES, "image": image, "path": path, "name": source.name}
    try:
        with Upload(client, f"to {image}", **arguments) as upload:
            left_out = pack(source.path, upload)
            changed = upload.finish()
    except OSError as error:
        raise Failed(f"'{error.filename or source.path}' cannot be read: {error.strerror or error}") from error
    check_left_out(left_out)
    return changed


def _fetch(client: Client, source: CopyPath, request: CopyRequest) -> None:
    with local_destination(request, source) as destination:
        with Download(client, f"from {source.remote}", source.remote, source.path) as download:
            left_out = destination.receive(download)
        destination.settle()
    check_left_out([f"{source.remote}:{source.path}/{name}" for name in left_out])
