"""What a service found about itself and its host, for `walt doctor`."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
WARN = "warn"
FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One line of `walt doctor`: what was looked at, what was found, what follows and how to fix it."""

    subject: str
    status: str  # OK, WARN or FAIL
    found: str
    consequence: str = ""
    fix: str = ""
