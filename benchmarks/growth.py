"""What has grown between two looks at a platform, and what its logs say that nothing explains. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ALLOWED = 0.05

TIMES = re.compile(r"\d[\d:.,-]*|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{12,}")
ORDINARY = re.compile(r" (INFO|DEBUG) |\[(info|notice|debug)\]|^\s*$")

# Lines of warning that belong to what the soak does, and why.
EXPLAINED = {
    r"the guest does not end by itself|was ended": "a node that boots cannot be asked to end",
    r"query_parser|pm_set|Statistics": "the broker's own start",
}


@dataclass(frozen=True)
class Grown:
    """One figure before and after."""

    what: str
    before: float
    after: float

    @property
    def is_too_much(self) -> bool:
        """What only shrank, or was replaced by as much, is no leak."""
        return self.after > self.before * (1 + ALLOWED)

    @property
    def share(self) -> float:
        """0.1 where a tenth was added; what came out of nothing has doubled."""
        return (self.after - self.before) / self.before if self.before else float(self.after > 0)


def compared(before: Mapping[str, float], after: Mapping[str, float]) -> list[Grown]:
    """In the order of the first look. What is missing in one of them is 0 there."""
    names = [*before, *(name for name in after if name not in before)]
    return [Grown(name, before.get(name, 0.0), after.get(name, 0.0)) for name in names]


def unexplained(lines: Iterable[str], explained: Mapping[str, str] | None = None) -> Counter[str]:
    """How often each line came that is neither ordinary nor explained; with `*` for numbers, so that the same line
    counts as one."""
    patterns = [re.compile(one) for one in (EXPLAINED if explained is None else explained)]
    odd = (line for line in lines if not ORDINARY.search(line) and not any(one.search(line) for one in patterns))
    return Counter(TIMES.sub("*", line.rstrip()) for line in odd)


def table(rows: Sequence[Grown]) -> list[str]:
    width = max((len(row.what) for row in rows), default=0)
    return [
        f"{row.what:<{width}}{row.before:>10.1f}{row.after:>10.1f}{100 * row.share:>8.1f} %"
        f"{'  too much' if row.is_too_much else ''}"
        for row in rows
    ]
