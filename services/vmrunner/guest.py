"""Ask the system inside a machine to make its end a clean one, over ssh."""

from __future__ import annotations

from services.contracts import console, wire
from services.contracts.console import CommandEnd
from services.contracts.errors import Failed, WaltError
from services.kit import peers

ASK_LIMIT_S = 5.0
PEER_GRACE_S = 2.0
LOST = 255  # ssh's status when the guest closes the connection, as one that shuts down may


def ask(host: str, node_id: int, command: str) -> None:
    """Returns once the guest has taken (`poweroff`) or done (`sync`) it; Failed with the reason why it has not."""
    service, patience_s = console.service_on(host), ASK_LIMIT_S + PEER_GRACE_S
    try:
        answer = peers.call(service, "run_command", node_id, [command], ASK_LIMIT_S, timeout_s=patience_s)
    except WaltError as error:
        raise Failed(f"the guest cannot be asked to {command}: {error}") from None
    end = wire.load(CommandEnd, answer)
    if end.status not in (0, LOST):
        raise Failed(f"the guest's {command}: status {end.status}: {end.output.strip()}")
