"""`walt image …` from the command line to the folders of bootserver, over a real RabbitMQ. No machine."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from services.bootserver.images.image_records import RECORDS
from tests.support.specs import spec
from walt.configuration import Configuration

NODE = spec(id=7, name="vnode1", owner="alice")

Walt = Callable[..., tuple[int, str, str]]


def configuration(uri: str) -> Configuration:
    parts = urlsplit(uri)
    broker = f"{parts.hostname}:{parts.port}"
    return Configuration(parts.username or "", parts.password or "", broker, parts.path[1:], Path("/nowhere"))


def images(walt: Walt, user: str = "alice") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(walt("image show -o json", user)[1])
    return rows


def folders_of_users(platform: Path) -> list[str]:
    """Of finished images and of others."""
    return [path.name for path in (platform / "images/users").glob("*") if path.name != RECORDS]


def tree_of(platform: Path, name: str, user: str = "alice") -> Path:
    record = json.loads((platform / f"images/users/.records/{user}/{name}.json").read_text())
    return platform / "images" / str(record["folder"])


def hostile_tar(path: Path, *members: tuple[str, dict[str, Any]]) -> Path:
    """members: name, attributes of its TarInfo and `content`."""
    with tarfile.open(path, "w") as tar:
        for name, attributes in members:
            member = tarfile.TarInfo(name)
            content = attributes.pop("content", b"")
            member.size = len(content)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            tar.addfile(member, io.BytesIO(content))
    return path
