"""Files of a node that hold lines of the platform beside those of its user: the platform's are a marked block, which
walt-init replaces at each boot; what is outside of it stays, also in an image that the node is saved as. Pure."""

from __future__ import annotations

import re

HOSTS, RESOLVER, KEYS = FILES = ("etc/hosts", "etc/resolv.conf", "root/.ssh/authorized_keys")

# walt-init has both too.
MARK = "# walt: begin"
END = "# walt: end"
BEGIN = f"{MARK} (lines of the platform, written at each boot; what is outside of them stays)"

# As nodes have them that run since before there were blocks.
_FORMER = {
    HOSTS: re.compile(r"\A127\.0\.0\.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n(?:.*\n)*?\S+ server\n"),
    KEYS: re.compile(r"^ssh-ed25519 \S+ walt\n", re.MULTILINE),
}


def block(text: str) -> str:
    """text: lines, each with its end."""
    return f"{BEGIN}\n{text}{END}\n"


def emptied(path: str, text: str) -> str | None:
    """What an image has of one of FILES: the block is where it was, but without lines. None: all of the file is the
    node's own, as a resolv.conf without a block, which some program wrote."""
    has_block, lines, held = False, list[str](), list[str]()
    is_inside = False
    for line in text.split("\n"):
        if line.startswith(MARK):  # one that does not end is no block: only this line of it is the platform's
            lines += held
            held, is_inside = [], True
        elif is_inside and line == END:
            lines += [] if has_block else block("").splitlines()
            held, is_inside, has_block = [], False, True
        else:
            (held if is_inside else lines).append(line)
    rest = "\n".join([*lines, *held])
    if has_block:
        return rest
    return None if path == RESOLVER else _FORMER[path].sub("", rest)
