"""Is it still the same registry? Another one (its database was lost, and nodes has begun a new one) knows nothing of
what this service keeps for users, and must not have it removed or given to its own nodes, whose ids begin anew."""

from __future__ import annotations

import logging
from pathlib import Path

from services.contracts import nodes
from services.contracts.errors import Failed, Unreachable
from services.contracts.health import FAIL, OK, Check
from services.kit.files import write_atomically
from services.kit.peers import call

ANSWER_S = 5.0

log = logging.getLogger(__name__)


class RegistryGuard:
    """folder: what the service keeps of the nodes is in it. fault: what the last check found, "" when all was well."""

    def __init__(self, folder: Path) -> None:
        self.fault = ""
        self._file = folder / "registry"

    def check(self) -> None:
        """Failed when nodes is not the registry that this was kept for; the first that answers is."""
        identity = str(call(nodes.SERVICE, "registry_id", timeout_s=ANSWER_S))
        self.fault = ""
        try:
            known = self._file.read_text()
        except FileNotFoundError:
            write_atomically(self._file, identity)
            return
        if known != identity:
            self.fault = (
                f"{self._file.parent} is of the nodes of registry {known}, but nodes has registry {identity} now: all of it "
                f"stays as it is; allowed: the former database of nodes, or to give up those nodes and their data (rm {self._file})"
            )
            raise Failed(self.fault)

    def allows(self, event: str) -> bool:
        """Whether an event of nodes may be obeyed, also while nodes, which said so, is away; why not is in the log."""
        try:
            self.check()
        except Unreachable:
            return True
        except Failed as error:
            log.warning("%s is let be: %s", event, error)
            return False
        return True

    def release(self) -> None:
        """Nothing is kept any more: the next registry that answers is the one."""
        self._file.unlink(missing_ok=True)


def diagnosis(fault: str, kept: str, consequence: str) -> Check:
    """For `walt doctor`. kept: what the service keeps; consequence: of a fault."""
    if not fault:
        return Check("registry", OK, f"{kept} are of the nodes of this registry")
    return Check("registry", FAIL, fault, consequence, "bring the former database of nodes back")
