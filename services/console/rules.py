"""What a request to console must be like. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from services.console.terminal import Terminal, parse_command, parse_terminal
from services.contracts import vmrunner
from services.contracts.errors import Conflict, Denied, InvalidRequest
from services.contracts.nodes import PHYSICAL, NodeTarget

MAX_PINGS = 3600
PING_GRACE_S = 3  # after the last of them, one a second; links may be slow


def check_queue(user: str, queue: Any) -> None:
    """Bytes go to a queue of the caller, never to somebody else's."""
    if not isinstance(queue, str) or not queue.startswith(f"user.{user}."):
        raise Denied(f"queue '{queue}' is not yours; allowed: a name that begins with user.{user}.")


def check_host(target: NodeTarget, host: str) -> NodeTarget:
    if target.host != host:
        raise Conflict(f"{target.name} lives on host {target.host}, not on {host}: ask console@{target.host}")
    return target


def check_line(target: NodeTarget) -> NodeTarget:
    if target.type == PHYSICAL:
        raise Conflict(
            f"{target.name} is a physical node and has no console here; log in to it: walt node shell {target.name}"
        )
    return target


def check_booted(target: NodeTarget) -> NodeTarget:
    if target.state != vmrunner.BOOTED:
        raise Conflict(f"{target.name} is {target.state}; logging in needs it booted (walt node wait {target.name})")
    return target


def parse_offset(offset: Any) -> int | None:
    if offset is not None and type(offset) is not int:
        raise InvalidRequest(f"offset '{offset}' is not a position; allowed: a whole number")
    return offset


def parse_shell(command: Any, terminal: Any) -> tuple[tuple[str, ...], Terminal | None]:
    if terminal is not None and not isinstance(terminal, Mapping):
        raise InvalidRequest(f"terminal '{terminal}' is not one; allowed: term, rows and columns, or none")
    return parse_command(command), parse_terminal(terminal)


def parse_port(port: Any) -> int:
    if type(port) is not int or not 1 <= port <= 65535:
        raise InvalidRequest(f"'{port}' is not a port; allowed: 1 to 65535")
    return port


def parse_count(count: Any) -> int:
    if type(count) is not int or not 1 <= count <= MAX_PINGS:
        raise InvalidRequest(f"'{count}' is not a number of pings; allowed: 1 to {MAX_PINGS}")
    return count


def parse_limit(timeout_s: Any) -> float:
    if type(timeout_s) not in (int, float) or not 0 < timeout_s < math.inf:
        raise InvalidRequest(f"timeout_s '{timeout_s}' is not a time; allowed: a number of seconds above 0")
    return float(timeout_s)


def ping_argv(ip: str, count: int) -> list[str]:
    """Its exit status: 0 answered, 1 not. No -w: with it, ping sends more than `count` when nothing answers."""
    return ["ping", "-n", "-c", str(count), "-W", str(PING_GRACE_S), ip]
