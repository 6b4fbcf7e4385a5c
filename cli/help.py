"""`walt help`: what is worth knowing about a subject rather than about one command; the texts are in `topics/`."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from services.contracts.errors import NotFound
from services.contracts.links import LINK_OPTIONS
from services.contracts.settings import SETTINGS, NodeConfig, show_settings

FOLDER = Path(__file__).with_name("topics")
SETTINGS_TOPIC = "settings"


@click.command("help")
@click.argument("topic", metavar="[TOPIC]", required=False)
def help_command(topic: str | None) -> None:
    """Explain a subject: 'walt help' lists them. Each command explains itself with --help."""
    click.echo(text_of(topic) if topic else overview(), nl=False)


def topics() -> list[str]:
    return sorted([SETTINGS_TOPIC, *(path.stem for path in FOLDER.glob("*.txt"))])


def overview() -> str:
    names = topics()
    width = max(map(len, names))
    lines = [f"  {name.ljust(width)}  {text_of(name).splitlines()[0]}" for name in names]
    return "\n".join(["Subjects, each explained by 'walt help TOPIC':", "", *lines, ""])


def text_of(topic: str) -> str:
    """Its first line says what it is about."""
    if topic not in topics():
        near = difflib.get_close_matches(topic, topics(), n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise NotFound(f"no help on '{topic}'{hint}; there is help on: {', '.join(topics())}")
    return settings_text() if topic == SETTINGS_TOPIC else (FOLDER / f"{topic}.txt").read_text()


def settings_text() -> str:
    """From the tables of the grammar: it cannot say anything else than what is accepted."""
    usual = show_settings(NodeConfig())
    parts = ["The settings of a node: what may be given, and when it takes effect", "", _HOW]
    for one in SETTINGS.values():
        parts += [f"{one.name}   (usual: {usual[one.name]}; takes effect: {one.takes_effect})"]
        parts += [f"    {one.help}", f"    {one.grammar}", ""]
    parts += ["Options of a link, in NAME[OPTION,...] of networks and in walt network link:", ""]
    for option in LINK_OPTIONS.values():
        parts += [f"{option.name}=   {option.help}", f"    {option.grammar}", ""]
    return "\n".join([*parts, _SIDES])


_HOW = """\
    walt node config vnode1                       shows them
    walt node config vnode1,vnode2 ram=1G         changes them
    walt node create vnode3 -c ram=1G             creates a node with them

All settings of all nodes named are checked before any is changed.
"""
_SIDES = """\
What the node sends is 'up', what it receives is 'down': lat.down=5ms, bw.up=1Mbps. Without a side, bw, limit and seed
hold for both; the others for what the node sends.
"""
