"""Names of images of the Docker Engine. Pure."""

from __future__ import annotations

import re

from walt.contracts.errors import InvalidRequest

MAX_CHARS = 255
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?"
_TAG = r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
_REFERENCE = re.compile(rf"{_HOST}{_PART}(?:/{_PART})*{_TAG}(?:@sha256:[0-9a-f]{{64}})?", re.ASCII)


def check(reference: str) -> None:
    """By the grammar of the distribution's specification."""
    if len(reference) > MAX_CHARS or not _REFERENCE.fullmatch(reference):
        raise InvalidRequest(f"'{reference}' is not the name of an image of the Docker Engine; allowed: IMAGE[:TAG]")
