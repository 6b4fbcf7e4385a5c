"""Run `poweroff`, `reboot` or `sync` in a node, through the console that reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from walt.contracts import console, serialization
from walt.contracts.console import CommandResult
from walt.contracts.errors import Failed

GRACE_S = 2.0  # console answers so long after its own limit at the latest


def run_in_guest(call: Callable[..., Any], host: str, node_id: int, command: str, limit_s: float) -> None:
    """Returns when the command has ended, or has closed the connection, as one that shuts the guest down may.

    Failed when it cannot be run, ends with an error or takes longer than limit_s; Unreachable when console is away.
    """
    service, patience_s = console.service_on(host), limit_s + GRACE_S
    answer = call(service, "run_command", node_id, [command], limit_s, timeout_s=patience_s)
    end = serialization.load(CommandResult, answer)
    if end.status and not end.is_lost:
        raise Failed(f"status {end.status}: {end.output.strip()}")
