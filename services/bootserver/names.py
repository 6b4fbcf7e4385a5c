"""Names of images: NAME for the platform's, USER/NAME for a user's. Pure.

In a command plain NAME means the caller's own image, else the platform's. Images of users are their own affair: nobody
else boots them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.contracts.bootserver import DEFAULT_IMAGE
from services.contracts.errors import Denied, InvalidRequest

RULE = "a lower-case letter first, then lower-case letters, digits, '.', '_' and '-', at most 63 characters"
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.ASCII)
_OWNER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*)?", re.ASCII)


_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)


@dataclass(frozen=True)
class ImageName:
    """owner: "" for the platform's own."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}" if self.owner else self.name


def parse(text: str) -> ImageName:
    owner, slash, name = text.rpartition("/")
    if not _NAME.fullmatch(name) or not _OWNER.fullmatch(owner) or bool(slash) != bool(owner):
        raise InvalidRequest(f"'{text}' is not the name of an image; allowed: NAME or USER/NAME; NAME: {RULE}")
    return ImageName(owner, name)


def meant(text: str, user: str) -> list[ImageName]:
    """What this user may mean by it, what comes first counts. Another's image is denied, whether there is one or not."""
    given = parse(text)
    if given.owner:
        _check_owner(given, user)
        return [given]
    return [ImageName(user, given.name), given] if user else [given]


def new(text: str, user: str) -> ImageName:
    """The name under which this user may save an image."""
    given = parse(text)
    if given.owner:
        _check_owner(given, user)
    if given.name == DEFAULT_IMAGE:
        raise InvalidRequest(f"'{text}': {DEFAULT_IMAGE} is the platform's image; allowed: another name")
    return ImageName(user, given.name)


def check_reference(reference: str) -> None:
    """A name of an image of the Docker Engine, by the grammar of the distribution's specification."""
    if len(reference) > 255 or not _REFERENCE.fullmatch(reference):
        raise InvalidRequest(f"'{reference}' is not the name of an image of the Docker Engine; allowed: IMAGE[:TAG]")


def from_reference(reference: str) -> str:
    """'registry/group/Debian:bookworm' -> 'debian-bookworm': what an image of the Docker Engine is called here."""
    last = reference.partition("@")[0].rpartition("/")[2].lower().removesuffix(":latest")
    return re.sub(r"[^a-z0-9._-]", "-", last)


def own(text: str, user: str) -> ImageName:
    """An image that this user may change, rename or remove."""
    given = parse(text)
    if given.owner:
        _check_owner(given, user)
    return ImageName(user, given.name)


def _check_owner(given: ImageName, user: str) -> None:
    if given.owner != user:
        raise Denied(f"image '{given}' would be {given.owner}'s; allowed: your own images and the platform's")
