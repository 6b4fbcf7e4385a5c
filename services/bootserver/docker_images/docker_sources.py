"""Pure: what users may take from the Docker Engine of the server. Nothing, unless its operator says so: what is pulled
and built comes over the network of the host, and the images that the engine has are everybody's then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from walt.contracts.errors import Denied

BUILD, BUILD_ONLINE, ANY, NONE = "build", "build-online", "any", "none"
RULE = (
    "none, or a list of: build (Dockerfiles), build-online (with the network of the server), any (all images), "
    "beginnings of names as library or registry.example/lab"
)
OFFICIAL = "library"  # what a name without a folder is in

# The engine takes these for the id of an image, or its beginning, before it looks for a name; with a tag it does not.
_ID = re.compile(r"(sha256:)?[0-9a-f]+", re.ASCII)
_PREFIX = re.compile(r"[a-z0-9][a-z0-9._:-]*(/[a-z0-9][a-z0-9._-]*)*", re.ASCII)


@dataclass(frozen=True)
class DockerSources:
    """text: as the operator wrote it; prefixes: of the names of images, by whole parts; may_build: by Dockerfiles;
    builds_online: whether their commands have a network, which reaches what the server does."""

    text: str = NONE
    prefixes: tuple[str, ...] = ()
    may_import_any: bool = False
    may_build: bool = False
    builds_online: bool = False

    def check_reference(self, reference: str) -> None:
        if not self.may_import_any and (_ID.fullmatch(reference) or not self._is_named(full_name(reference))):
            raise Denied(f"image '{reference}' of the Docker Engine is not taken here; allowed: {self._allowed()}")

    def check_build(self) -> None:
        if not self.may_build:
            raise Denied(
                "images are not built by Dockerfiles here; allowed: a FILE.tar or a folder (walt image import)"
            )

    def _is_named(self, name: str) -> bool:
        return any(name == one or name.startswith(f"{one}/") for one in self.prefixes)

    def _allowed(self) -> str:
        named = [f"names that begin with {', '.join(self.prefixes)}"] if self.prefixes else []
        return " or ".join([*named, "a FILE.tar or a folder; the operator decides (WALT_IMAGE_SOURCES)"])


def parse(text: str) -> DockerSources:
    """ValueError(what is allowed)."""
    words = [] if text == NONE else [word.strip() for word in text.split(",")]
    prefixes = tuple(word for word in words if word not in (BUILD, BUILD_ONLINE, ANY))
    if not all(_PREFIX.fullmatch(one) and one != NONE for one in prefixes):
        raise ValueError(RULE)
    is_online = BUILD_ONLINE in words
    return DockerSources(text, prefixes, ANY in words, is_online or BUILD in words, is_online)


def full_name(reference: str) -> str:
    """Without tag and digest: 'debian:12' -> 'library/debian', 'registry.example:5000/lab/x@sha256:…' ->
    'registry.example:5000/lab/x'."""
    folder, _, last = reference.partition("@")[0].rpartition("/")
    return f"{folder or OFFICIAL}/{last.partition(':')[0]}"
