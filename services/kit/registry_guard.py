"""Guards an agent's state against a registry that was exchanged, or restored from a backup: an agent must neither
delete nor reuse what it keeps for the nodes of another history than the one it has obeyed.

The agent remembers the newest revision of the registry that it obeyed. `nodes` says whether that is in its history
(services/nodes/domain/history.py); where it is not, everything stays as it is until an administrator decides.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.kit.files import write_atomically
from walt.contracts import nodes, serialization
from walt.contracts.checks import FAIL, OK, Check
from walt.contracts.errors import Failed, Unreachable, WaltError
from walt.contracts.nodes import Revision

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Obeyed:
    """registry: its identity."""

    registry: str
    revision: Revision = field(default_factory=Revision)

    def may_become(self, new: Obeyed, may_be_late: bool) -> bool:
        """Without asking: it is the same history, as far as one can tell. Some have no revision: what a version of
        before sends, or has obeyed."""
        old, now = self.revision, new.revision
        if self.registry != new.registry:
            return False
        if not old.epoch or not now.epoch:
            return True
        return old.epoch == now.epoch and (may_be_late or old.sequence <= now.sequence)


class RegistryGuard:
    """folder: what the service keeps of the nodes is in it. agent: who that is ("vmrunner@local"). call: as Bus.call.
    fault: what the last check found, "" when all was well. wake: set when the service should reconcile at once.

    Specs and events carry the registry that they come from; "" (sent by an older `nodes`) is accepted.
    """

    def __init__(self, folder: Path, agent: str, call: Callable[..., Any]) -> None:
        self.fault = ""
        self.wake = threading.Event()
        self._agent = agent
        self._call = call
        self._file = folder / "registry"
        self._lock = threading.Lock()

    def check(self, registry: str, revision: Revision) -> None:
        """Of an answer of nodes. Raises Failed if that registry does not know what this agent has obeyed; the first
        one seen is obeyed."""
        with self._lock:
            self._check(Obeyed(registry, revision), may_be_late=False)

    def allows(self, event: str, registry: str, revision: Revision) -> bool:
        """Whether an event of nodes may be obeyed; why not is in the log. Once it is not, the reconciliation decides,
        which the service tries again and again."""
        try:
            with self._lock:
                if self.fault:
                    raise Failed(self.fault)
                known = self._load()
                if known is not None and registry not in ("", known.registry):
                    self._present_revision(known, registry)
                    log.warning("%s is ignored: it is of registry %s, nodes has %s", event, registry, known.registry)
                    return False
                self._check(Obeyed(registry, revision), may_be_late=True)
        except WaltError as error:
            log.warning("%s is ignored: %s", event, error)
            self.wake.set()
            return False
        return True

    def release(self) -> None:
        """Nothing is kept any more: the next registry that is seen is the one."""
        with self._lock:
            self._file.unlink(missing_ok=True)

    def _check(self, new: Obeyed, may_be_late: bool) -> None:
        known = self._load() if new.registry else None
        if known is not None and not known.may_become(new, may_be_late):
            new = Obeyed(new.registry, self._present_revision(known, new.registry))
        elif known is not None and (known.revision.sequence >= new.revision.sequence or not new.revision.epoch):
            new = known
        self.fault = ""
        if new.registry and new != known:
            write_atomically(self._file, json.dumps(serialization.dump(new)))

    def _present_revision(self, known: Obeyed, registry: str) -> Revision:
        """Of this registry; Failed if it does not know what this agent has obeyed."""
        found = known.revision
        arguments = {"registry": known.registry, "epoch": found.epoch, "sequence": found.sequence}
        try:
            present = self._call(nodes.SERVICE, "check_history", agent=self._agent, **arguments)
        except Unreachable:
            raise
        except WaltError as error:  # a `nodes` of a version before
            log.warning("the history of the registry cannot be compared: %s", error)
            present = None
        if present is not None:
            return serialization.load(Revision, present)
        now = f"has registry {registry} now" if registry != known.registry else "has an older one now (from a backup?)"
        self.fault = (
            f"{self._file.parent} holds the nodes of registry {known.registry}, but nodes {now}: all of it stays as "
            "it is until an administrator decides"
        )
        raise Failed(self.fault)

    def _load(self) -> Obeyed | None:
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            return None
        if text.startswith("{"):
            return serialization.load(Obeyed, json.loads(text))
        return Obeyed(text)  # written by a version before, which knew identities only


def diagnosis(fault: str, kept: str, consequence: str) -> Check:
    """For `walt doctor`. kept: what the service keeps; consequence: of a fault."""
    if not fault:
        return Check("registry", OK, f"{kept} are of the nodes of this registry")
    fix = "decide as the line 'registry' of nodes tells"
    return Check("registry", FAIL, fault, consequence, fix)
