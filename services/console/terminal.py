"""The size and kind of a user's terminal, and the ssh command that logs in. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.contracts.errors import InvalidRequest

MAX_SIDE = 10_000
MAX_COMMAND_BYTES = 100_000  # Linux takes 128 KiB in one argument (MAX_ARG_STRLEN)
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
_SIZE = re.compile(rb"([0-9]{1,5}) ([0-9]{1,5})")

HOST_ALIAS = "node"  # under this name the host key stands in known_hosts


@dataclass(frozen=True)
class Size:
    rows: int
    columns: int


@dataclass(frozen=True)
class Terminal:
    term: str
    size: Size


def parse_terminal(given: Mapping[str, Any] | None) -> Terminal | None:
    if given is None:
        return None
    term, rows, columns = given.get("term"), given.get("rows"), given.get("columns")
    if not isinstance(term, str) or not _TERM.fullmatch(term):
        raise InvalidRequest(f"'{term}' is not a kind of terminal; allowed: letters, digits and '._+-'")
    return Terminal(term, _size(rows, columns))


def parse_size(body: bytes) -> Size:
    """b'24 80', the body of a RESIZE."""
    match = _SIZE.fullmatch(body)
    if not match:
        raise InvalidRequest(f"{body[:40]!r} is not a size; allowed: ROWS COLUMNS")
    return _size(int(match[1]), int(match[2]))


def parse_command(words: Any) -> tuple[str, ...]:
    if words is None:
        return ()
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
        raise InvalidRequest("the command is not a list of words; allowed: at least one word, or none for a shell")
    if any("\0" in word for word in words):
        raise InvalidRequest("the command holds a NUL character; allowed: any other")
    if sum(len(word.encode(errors="surrogateescape")) + 1 for word in words) > MAX_COMMAND_BYTES:
        raise InvalidRequest(f"the command is too long; allowed: {MAX_COMMAND_BYTES} bytes")
    return tuple(words)


def _size(rows: Any, columns: Any) -> Size:
    if not all(type(side) is int and 1 <= side <= MAX_SIDE for side in (rows, columns)):
        raise InvalidRequest(f"{rows} rows and {columns} columns: allowed: 1 to {MAX_SIDE} each")
    return Size(rows, columns)


def ssh_argv(ssh: str, folder: Path, user: str, ip: str, command: Sequence[str], terminal: bool) -> list[str]:
    """OpenSSH, told everything: no file of this host's configuration has a say, no question is ever asked.

    Its own words go to a file (-E), apart from what the command prints.
    """
    # fmt: off
    return [
        ssh,
        "-F", "/dev/null",
        "-i", str(folder / "key"),
        "-E", str(folder / "said"),
        "-o", "IdentitiesOnly=yes",
        "-o", "IdentityAgent=none",
        "-o", f"UserKnownHostsFile={folder / 'known_hosts'}",
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=yes",
        "-o", f"HostKeyAlias={HOST_ALIAS}",
        "-o", "BatchMode=yes",
        "-o", "ConnectTimeout=10",
        "-o", "ServerAliveInterval=15",
        "-o", "ServerAliveCountMax=4",
        "-o", "LogLevel=ERROR",
        "-e", "none",
        "-tt" if terminal else "-T",
        "-l", user,
        ip,
        *(["--", *command] if command else []),
    ]
    # fmt: on
