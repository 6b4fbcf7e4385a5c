"""`python -m tests.settings_page`: write docs/settings.md again from the tables that parse the settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from walt.contracts.links import LINK_OPTIONS, LinkOption
from walt.contracts.settings import SETTINGS, NodeConfig, show_settings
from walt.contracts.trace_names import MAX_NUMBER

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
DIRECTIONS = {("up",): "what the node sends", ("up", "down"): "both directions", (): "the interface, never a suffix"}

INTRODUCTION = """\
# Settings of a node

Written by `python -m tests.settings_page` from `walt/contracts/settings.py` and `links.py`.

`walt node create NODE -c KEY=VALUE`, `walt node config NODE KEY=VALUE…`; without KEY=VALUE, `walt node config NODE`
prints them. All settings given are checked before any is applied; every fault is reported, nothing is
clamped or ignored.
"""

LINKS = """\

## Links

What stands in brackets after a network's name is the link of this node's port on it, for instance
`networks=walt-net,home-net[lat=10ms,bw=100Mbps]`. It applies at once, also to a running node. Each option
but `carrier` may carry `.up` (what the node sends only) or `.down` (what it receives only): `lat.down=5ms`.
"""


def page() -> str:
    defaults = show_settings(NodeConfig())
    settings = [
        (f"`{one.name}`", one.help, one.grammar, f"`{defaults[one.name]}`", one.takes_effect)
        for _, one in sorted(SETTINGS.items())
    ]
    options = [
        (f"`{one.name}`", one.help, one.grammar, _range(one), DIRECTIONS[one.sides]) for one in LINK_OPTIONS.values()
    ]
    return "\n".join(
        [
            INTRODUCTION,
            *_table(("setting", "meaning", "value", "default", "takes effect"), settings),
            LINKS,
            *_table(("option", "meaning", "value", "range", "without a suffix"), options),
            "",
        ]
    )


def _range(option: LinkOption) -> str:
    if not option.sides:
        return option.grammar
    if option.maximum == MAX_NUMBER:
        return "those of `walt network trace list`"
    return f"{option.format(option.minimum)} to {option.format(option.maximum)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


if __name__ == "__main__":
    PAGE.write_text(page())
