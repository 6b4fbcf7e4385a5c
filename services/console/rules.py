"""What a request to console must be like. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.console.terminal import Terminal, parse_command, parse_terminal
from services.contracts import vmrunner
from services.contracts.errors import Conflict, Denied, InvalidRequest
from services.contracts.nodes import NodeTarget


def check_queue(user: str, queue: Any) -> None:
    """Bytes go to a queue of the caller, never to somebody else's."""
    if not isinstance(queue, str) or not queue.startswith(f"user.{user}."):
        raise Denied(f"queue '{queue}' is not yours; allowed: a name that begins with user.{user}.")


def check_host(target: NodeTarget, host: str) -> NodeTarget:
    if target.host != host:
        raise Conflict(f"{target.name} lives on host {target.host}, not on {host}: ask console@{target.host}")
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
