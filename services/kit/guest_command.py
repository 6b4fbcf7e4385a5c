"""Run a command in a node, through the console that reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from walt.contracts import console, serialization
from walt.contracts.console import CommandResult
from walt.contracts.errors import Failed

GRACE_S = 2.0  # console answers so long after its own limit at the latest


def run_in_guest(call: Callable[..., Any], host: str, node_id: int, command: str, limit_s: float) -> None:
    """`poweroff`, `reboot` or `sync`. Returns when it has ended, or has closed the connection, as one that shuts the
    guest down may.

    Failed when it cannot be run, ends with an error or takes longer than limit_s; Unreachable when console is away.
    """
    end = ask_guest(call, host, node_id, command, limit_s)
    if end.status and not end.is_lost:
        raise Failed(f"status {end.status}: {end.output.strip()}")


def ask_guest(call: Callable[..., Any], host: str, node_id: int, command: str, limit_s: float) -> CommandResult:
    """As `run_in_guest`, but an error of the command is an answer too."""
    service, patience_s = console.service_on(host), limit_s + GRACE_S
    answer = call(service, "run_command", node_id, [command], limit_s, timeout_s=patience_s)
    return serialization.load(CommandResult, answer)
