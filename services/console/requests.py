"""What is allowed in a request to console: types of arguments, and what must be true of the node."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from marshmallow import ValidationError
from marshmallow.validate import Length, Range, Regexp

from walt.contracts import vmrunner
from walt.contracts.errors import Conflict, Denied
from walt.contracts.nodes import PHYSICAL, NodeTarget

MAX_PINGS = 3600
PING_GRACE_S = 3  # to wait after the last of them, which go once a second; links may be slow
MAX_COMMAND_BYTES = 100_000  # Linux takes 128 KiB in one argument (MAX_ARG_STRLEN)


@dataclass(frozen=True)
class SessionRequest:
    """user: the caller. queue: where the output goes."""

    user: str
    node: str
    queue: str


def _check_command(command: Sequence[str]) -> None:
    if not command:
        raise ValidationError("is not a command; allowed: at least one word, or no command for a shell")
    if any("\0" in word for word in command):
        raise ValidationError("is not a command: it contains a NUL character; allowed: any other")
    if sum(len(word.encode(errors="surrogateescape")) + 1 for word in command) > MAX_COMMAND_BYTES:
        raise ValidationError(f"is not a command: it is too long; allowed: {MAX_COMMAND_BYTES} bytes")


Command = Annotated[tuple[str, ...], _check_command]
MAX_EXPRESSION = 2000  # characters; the kernel takes no filter that is much longer
Expression = Annotated[
    str,
    Length(max=MAX_EXPRESSION, error=f"is not a filter: it is too long; allowed: {MAX_EXPRESSION} characters"),
    Regexp(re.compile(r"[^\0-\x1f]*\Z"), error="is not a filter: it has a control character; allowed: any other"),
]
FrameCount = Annotated[int, Range(0, error="is not a number of frames; allowed: 0 (any) or more")]
Port = Annotated[int, Range(1, 65535, error="is not a port; allowed: 1 to 65535")]
PingCount = Annotated[int, Range(1, MAX_PINGS, error=f"is not a number of pings; allowed: 1 to {MAX_PINGS}")]
Seconds = Annotated[float, Range(0, min_inclusive=False, error="is not a time; allowed: a number of seconds above 0")]


def check_queue(user: str, queue: str) -> str:
    """Output goes to a queue of the caller, never to somebody else's."""
    if not queue.startswith(f"user.{user}."):
        raise Denied(f"queue '{queue}' is not yours; allowed: a name that begins with user.{user}.")
    return queue


def check_host(target: NodeTarget, host: str) -> NodeTarget:
    if target.host != host:
        raise Conflict(f"{target.name} lives on host {target.host}, not on {host}: ask console@{target.host}")
    return target


def check_line(target: NodeTarget) -> NodeTarget:
    if target.type == PHYSICAL:
        raise Conflict(
            f"{target.name} is a physical node and has no console; log in to it: walt node shell {target.name}"
        )
    return target


def check_ports(target: NodeTarget) -> NodeTarget:
    if target.type == PHYSICAL:
        raise Conflict(f"{target.name} is a physical node: its frames do not pass through the platform's ports")
    return target


def check_booted(target: NodeTarget) -> NodeTarget:
    if target.state != vmrunner.BOOTED:
        raise Conflict(f"{target.name} is {target.state}; logging in needs it booted (walt node wait {target.name})")
    if target.cause == vmrunner.CAUSE_NO_ANSWER:
        raise Conflict(
            f"{target.name} is booted, but {target.reason}; what still works: its console (walt node console "
            f"{target.name}), and to boot it again (walt node reboot {target.name})"
        )
    return target


def ping_argv(ip: str, count: int) -> list[str]:
    """Its exit status: 0 answered, 1 not. No -w: with it, ping sends more than `count` when nothing answers."""
    return ["ping", "-n", "-c", str(count), "-W", str(PING_GRACE_S), ip]
