"""The help topics: each is a .txt file of this folder, but `settings`, which is derived from the grammar.

The first line of a topic is its title.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from walt.contracts import port_addresses
from walt.contracts.errors import NotFound
from walt.contracts.links import LINK_OPTIONS
from walt.contracts.settings import SETTINGS, NodeConfig, show_settings

FOLDER = Path(__file__).parent
SETTINGS_TOPIC = "settings"


def topics() -> list[str]:
    return sorted([SETTINGS_TOPIC, *(path.stem for path in FOLDER.glob("*.txt"))])


def overview() -> str:
    """A line for each topic: its name and its title."""
    names = topics()
    width = max(map(len, names))
    lines = [f"  {name.ljust(width)}  {text_of(name).splitlines()[0]}" for name in names]
    return "\n".join(["Topics; 'walt help TOPIC' shows one:", "", *lines, ""])


def text_of(topic: str) -> str:
    if topic not in topics():
        near = difflib.get_close_matches(topic, topics(), n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise NotFound(f"no help on '{topic}'{hint}; there is help on: {', '.join(topics())}")
    return _settings_text() if topic == SETTINGS_TOPIC else (FOLDER / f"{topic}.txt").read_text()


def _settings_text() -> str:
    """Derived from the tables of the grammar, so that it always matches what is accepted."""
    defaults = show_settings(NodeConfig())
    parts = ["The settings of a node: values, defaults, and when a change takes effect", "", _HOW]
    for one in SETTINGS.values():
        parts += [f"{one.name}   (default: {defaults[one.name]}; takes effect: {one.takes_effect})"]
        parts += [f"    {one.help}", f"    {one.grammar}", ""]
    parts += ["Options of a link, in NAME[OPTION,...] of networks and in walt network link:", ""]
    for option in LINK_OPTIONS.values():
        parts += [f"{option.name}=   {option.help}", f"    {option.grammar}", ""]
    addr = f"{port_addresses.OPTION}=   the address of the node there"
    parts += [addr, f"    {port_addresses.RULE}", ""]
    return "\n".join([*parts, _SIDES])


_HOW = """\
    walt node config vnode1                       shows the settings
    walt node config vnode1,vnode2 ram=1G         changes them
    walt node create vnode3 -c ram=1G             creates a node with them

All settings of all the nodes are checked before any of them is changed.
"""
_SIDES = """\
What the node sends is 'up', what it receives is 'down': lat.down=5ms, bw.up=1Mbps. Without a side, bw, limit and seed
apply to both directions, carrier to the interface; the other options to what the node sends.
"""
