"""What a Dockerfile has the engine fetch: images, and what `ADD` loads over the network. Pure.

Closed by default: of what the engine would fetch, only what is written out is understood here, and anything else in its
place is refused. Lines are read as the engine's classic builder does (Dockerfile reference; moby's parser.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from walt.contracts.errors import InvalidRequest

SCRATCH = "scratch"  # the empty image
MAX_BYTES = 2**18
FETCHING = ("FROM", "COPY", "ADD")

_ESCAPE = re.compile(r"\s*#\s*escape\s*=\s*(?!\\\s*$)", re.IGNORECASE)
_CONTROL = re.compile(r"[^\S\t\r\n ]|[\x00-\x08\x0e-\x1f\x7f]")
_CONTINUED = re.compile(r"\\[ \t\r]*$")
_SPACE = re.compile(r"[\t\r ]+")
_NAME = re.compile(r"[A-Za-z0-9._:/@-]+")
_FLAG = re.compile(r"--(platform|from|chown|chmod|link)(=[A-Za-z0-9._:/@-]*)?")  # nothing quoted, no variable
_ADDED = re.compile(r"[A-Za-z0-9_./*?+=,-]+")  # no URL, no variable, nothing quoted


@dataclass(frozen=True)
class Instruction:
    """name: in upper case; flags: '--from=x', …; words: the others."""

    name: str
    flags: tuple[str, ...]
    words: tuple[str, ...]


def text_of(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise InvalidRequest(f"the Dockerfile has {len(content)} bytes; allowed: {MAX_BYTES}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the Dockerfile is not UTF-8: byte {error.start}") from None
    if found := _CONTROL.search(text):
        raise InvalidRequest(f"the Dockerfile has the character {found[0]!r}; allowed: text, blanks, tabs, line ends")
    return text


def fetched_images(text: str) -> list[str]:
    """References, in their order, but for stages of the Dockerfile itself. InvalidRequest names what is at fault."""
    stages, images = set[str](), list[str]()
    for one in _instructions(text):
        if one.name == "FROM":
            image = _image(one.words[0] if one.words else "", one.name)
            images += [image] if image.lower() not in stages and image != SCRATCH else []
            if len(one.words) == 3 and one.words[1].upper() == "AS":
                stages.add(one.words[2].lower())
        for flag in one.flags:
            if flag.startswith("--from"):
                image = _image(flag.partition("=")[2], f"{one.name} --from")
                images += [image] if image.lower() not in stages and not image.isdecimal() else []
    return images


def check_adds_nothing_from_outside(text: str) -> None:
    """InvalidRequest when an `ADD` could load something over the network of the server."""
    for one in _instructions(text):
        for word in one.words if one.name == "ADD" else ():
            if not _ADDED.fullmatch(word):
                raise InvalidRequest(
                    f"Dockerfile: ADD {word}: allowed here: names of files, of letters, digits and _./*?+=,- "
                    "(COPY takes others too; nothing is added from a URL)"
                )


def _image(name: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"Dockerfile: {where} {name}: allowed: the name of an image or a stage, written out")
    return name


def _instructions(text: str) -> Iterator[Instruction]:
    for line in _logical_lines(text):
        words = [word for word in _SPACE.split(line) if word]
        while len(words) > 1 and words[0].upper() == "ONBUILD":  # what another stage does that begins with this one
            words = words[1:]
        if not words:
            continue
        name = words[0].upper()
        if "<<" in line:
            raise InvalidRequest(f"Dockerfile: {name} with <<: allowed: commands on one line, continued by \\")
        flags = tuple(word for word in words[1:] if word.startswith("-")) if name in FETCHING else ()
        for flag in flags:
            if not _FLAG.fullmatch(flag):
                raise InvalidRequest(
                    f"Dockerfile: {name} {flag}: allowed: --platform, --from, --chown, --chmod, --link, their values "
                    "written out"
                )
        yield Instruction(name, flags, tuple(word for word in words[1:] if word not in flags))


def _logical_lines(text: str) -> Iterator[str]:
    """Continued lines as one; without comments, nor empty lines within."""
    line, is_continued = "", False
    for one in text.split("\n"):
        if _ESCAPE.match(one):
            raise InvalidRequest(f"Dockerfile: {one.strip()}: allowed: \\, which it is without this line")
        if one.lstrip().startswith("#") or (is_continued and not one.strip()):
            continue
        line += one
        is_continued = bool(_CONTINUED.search(line))
        if is_continued:
            line = _CONTINUED.sub("", line)
        else:
            yield line
            line = ""
    yield line
