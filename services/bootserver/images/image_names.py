"""Names of images: NAME for the platform's, USER/NAME for a user's. Pure.

In a command, plain NAME is the caller's own image if there is one, else the platform's. Only its owner may use or boot
a user's image. USER~ACCOUNT/NAME is one of an account that has ended, for administrators.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.errors import Denied, InvalidRequest
from walt.contracts.nodes import Owner

NAME_RULE = "a lower-case letter first, then lower-case letters, digits, '.', '_' and '-', at most 63 characters"
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.ASCII)
_OWNER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*(?:~[0-9a-f]+)?)?", re.ASCII)
_ASIDE = "~"  # no user has it in his name
_ASIDE_DIGITS = 12


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
        raise InvalidRequest(f"'{text}' is not the name of an image; allowed: NAME or USER/NAME; NAME: {NAME_RULE}")
    return ImageName(owner, name)


def aside(owner: Owner) -> str:
    """What the owner is called once his account has ended: 'bob~3f2a91c04d5e'."""
    return f"{owner.name}{_ASIDE}{owner.account[:_ASIDE_DIGITS]}"


def is_set_aside(owner: str) -> bool:
    return _ASIDE in owner


def check_owner(user: str) -> str:
    """The broker lets its operator give accounts any names; this one becomes that of a folder."""
    if not user or is_set_aside(user) or not _OWNER.fullmatch(user):
        raise Denied(f"user '{user}' cannot have images; allowed: a name as 'walt user add' takes it")
    return user


def candidates(text: str, user: str) -> list[ImageName]:
    """The images that this user may mean by it; the first that exists is taken. Another user's image is denied, whether
    it exists or not."""
    given = _parse_for(text, user)
    return [given] if given.owner or not user else [ImageName(user, given.name), given]


def owned_name(text: str, user: str) -> ImageName:
    """An image that this user may change, rename or remove."""
    return ImageName(user, _parse_for(text, user).name)


def new_name(text: str, user: str) -> ImageName:
    """The name under which this user may save an image."""
    image_name = owned_name(text, user)
    if image_name.name == DEFAULT_IMAGE:
        raise InvalidRequest(f"'{text}': {DEFAULT_IMAGE} is the platform's image; allowed: another name")
    return image_name


def _parse_for(text: str, user: str) -> ImageName:
    given = parse(text)
    if given.owner and given.owner != user:
        raise Denied(f"image '{given}' would be {given.owner}'s; allowed: your own images and the platform's")
    return given


def from_reference(reference: str) -> str:
    """'registry/group/Debian:bookworm' -> 'debian-bookworm': the default name of an image of the Docker Engine."""
    last = reference.partition("@")[0].rpartition("/")[2].lower().removesuffix(":latest")
    return re.sub(r"[^a-z0-9._-]", "-", last)
