"""What `walt doctor` shows of console: its lines, the input of users, and the programs that it runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from services.kit import registry_guard
from walt.contracts import checks
from walt.contracts.checks import Check


def diagnose(host: str, line_count: int, unheard: Sequence[str], ssh: str, registry_fault: str) -> list[Check]:
    consequence = "no line is removed or hidden, and no session ends, when a node changes hands"
    return [
        Check("console lines", checks.OK, f"{line_count} lines on {host}"),
        registry_guard.diagnosis(registry_fault, "console lines", consequence),
        _input(unheard),
        _program("ssh client", ssh, "walt node shell, run and cp do not work", "apt install openssh-client"),
        _program("ping", "ping", "walt node ping does not work", "apt install iputils-ping"),
    ]


def _input(unheard: Sequence[str]) -> Check:
    if not unheard:
        return Check("console input", checks.OK, "the input of users is received")
    return Check(
        "console input",
        checks.FAIL,
        f"the broker delivers no input of {', '.join(unheard)}",
        "what they type reaches no node",
        "see the log of console and of the broker",
    )


def _program(subject: str, program: str, consequence: str, fix: str) -> Check:
    if shutil.which(program):
        return Check(subject, checks.OK, f"{program} is installed")
    return Check(subject, checks.FAIL, f"{program} is not installed", consequence, fix)
