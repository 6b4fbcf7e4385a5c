"""Pages of the documentation that are made from the code: commands, help topics, messages on the wire. Pure."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

from cli import topics
from cli.tree import walt

SERVICES = ("nodes", "labs", "vmrunner", "netemu", "bootserver", "console")


def pages() -> dict[str, str]:
    """{file name: Markdown}"""
    return {"commands.md": commands_page(), "topics.md": topics_page(), "messages.md": messages_page()}


def commands_page() -> str:
    return _page("Commands", (_section(name, text) for name, text in _helps(walt, "walt")))


def topics_page() -> str:
    texts = ((name, topics.text_of(name)) for name in topics.topics())
    return _page("Help topics", (_section(f"walt help {name}", text) for name, text in texts))


def messages_page() -> str:
    """What each service answers and announces, as its contract says."""
    contracts = ((name, importlib.import_module(f"walt.contracts.{name}").__doc__) for name in SERVICES)
    return _page("Messages on the wire", (_section(name, text or "") for name, text in contracts))


def _helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, max_content_width=100)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for one in command.list_commands(context):
            yield from _helps(command.commands[one], f"{name} {one}", context)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text.strip()}\n```\n"


def _page(title: str, sections: Iterator[str]) -> str:
    return "\n".join([f"# {title}\n", *sections])
