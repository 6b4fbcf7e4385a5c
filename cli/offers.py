"""What completion offers for a word: by the metavar of its parameter, so that every command has it.

The words of the grammar are pure functions of what is typed so far; names of nodes, networks and images are asked of
the platform, which has PATIENCE_S to answer.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from cli.help import topics
from services.contracts import disks, links, units
from services.contracts.errors import Unreachable, WaltError
from services.contracts.links import LinkModel
from services.contracts.names import ALL_NODES, FREE_NODES, MY_NODES, NODE_SETS, WALT_NET
from services.contracts.settings import NETSETUPS, SETTINGS, parse_networks

PATIENCE_S = 0.7

# Commands for which it matters whose the nodes are: all others are for nodes of one's own.
ANYBODYS = ("show", "wait", "ping")
OTHERS = ("acquire",)

VALUES = {
    "cpu.cores": ("1", "2", "4", "8"),
    "ram": ("256M", "512M", "1G", "2G", "4G"),
    "boot.delay": ("random", "0", "5", "10"),
    "boot.timeout": ("none", "180", "600"),
    "boot.retries": ("0", "3", "9"),
    "netsetup": NETSETUPS,
}
DISK_SIZES = ("256M", "1G", "8G", "32G", "1T")
LINK_VALUES = {
    "lat": ("1ms", "10ms", "100ms"),
    "jitter": ("1ms", "5ms"),
    "bw": ("512kbps", "10Mbps", "100Mbps", "1Gbps"),
    **dict.fromkeys(("loss", "dup", "corrupt", "reorder"), ("0.1%", "1%", "10%")),
    "limit": ("100", "1000"),
    "seed": ("1", "2"),
}


@dataclass(frozen=True)
class Asked:
    """typed: what there is of the word; given: the words of a repeated argument before it; command: its name; group:
    of the command."""

    client: Any
    command: str
    typed: str
    given: Sequence[str] = ()
    group: str = ""


Offer = Callable[[Asked], Iterable[str]]


# --- the grammar --------------------------------------------------------------------------------------------


def last_item(text: str, names: Iterable[str]) -> list[str]:
    """'a,b,' and the names -> 'a,b,c', …: none twice."""
    *before, _ = text.split(",")
    head = "".join(f"{one}," for one in before)
    return [head + name for name in names if name not in before]


def setting_words(text: str, given: Sequence[str], networks: Callable[[], Iterable[str]]) -> list[str]:
    """'' -> 'ram=', …; 'ram=' -> 'ram=512M', …"""
    key, equals, value = text.partition("=")
    if not equals:
        taken = {word.partition("=")[0] for word in given}
        return [f"{name}=" for name in SETTINGS if name not in taken]
    if key == "disks":
        values = disk_words(value)
    elif key == "networks":
        values = network_words(value, networks)
    else:
        values = list(VALUES.get(key, ()))
    return [f"{key}={one}" for one in values]


def disk_words(text: str) -> list[str]:
    """'' -> 'none', '256M', …; '32G[' -> '32G[template=ext4]', …; after a comma, the next disk."""
    *before, item = units.split_outside_brackets(text)
    head = "".join(f"{one}," for one in before)
    size, bracket, _ = item.partition("[")
    if bracket:
        templates = [f"{size}[template={name}]" for name in disks.TEMPLATES]
        return [head + one for one in templates if _parses(disks.parse_disks, one)]
    opened = [f"{size}[template="] if _parses(units.parse_disk_bytes, size) else []
    return [head + one for one in (*([] if before else ["none"]), *DISK_SIZES, *opened)]


def network_words(text: str, names: Callable[[], Iterable[str]]) -> list[str]:
    """'' -> 'walt-net', …; 'home-net[' -> 'home-net[lat=', …; after a comma, the next network."""
    *before, item = units.split_outside_brackets(text)
    head = "".join(f"{one}," for one in before)
    name, bracket, inner = item.partition("[")
    if not bracket:
        given = {one.partition("[")[0] for one in before}
        known = [one for one in names() if one not in given]
        return [head + one for one in (*known, *([f"{name}["] if name in known else []))]
    *options, typed = inner.split(",")
    start = head + name + "[" + "".join(f"{one}," for one in options)
    closed = [f"{typed}]"] if _parses(_parse_option, typed) else []
    return [start + one for one in (*link_words(typed, options), *closed)]


def link_words(text: str, given: Sequence[str]) -> list[str]:
    """'' -> 'lat=', …; 'lat=' -> 'lat=10ms', …; 'bw.' -> 'bw.up=', 'bw.down='."""
    word, equals, _ = text.partition("=")
    name, dot, _ = word.partition(".")
    if equals:
        return [f"{word}={value}" for value in LINK_VALUES.get(name, ())]
    taken = {one.partition("=")[0] for one in given}
    sides = [f"{name}.{side}" for side in links.SIDES] if dot and name in links.LINK_OPTIONS else []
    return [f"{one}=" for one in sides or links.LINK_OPTIONS if one not in taken]


def _parse_option(text: str) -> LinkModel:
    word, _, value = text.partition("=")
    return links.with_option(LinkModel(), word, value)


def _parses(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


# --- the platform -------------------------------------------------------------------------------------------


def node_sets(asked: Asked) -> list[str]:
    names = _names_of_nodes(asked)
    if asked.command in ANYBODYS:
        return last_item(asked.typed, [*names, *NODE_SETS])
    return last_item(asked.typed, [*names, FREE_NODES if asked.command in OTHERS else MY_NODES])


def node_names(asked: Asked) -> list[str]:
    return _names_of_nodes(asked)


def images(asked: Asked) -> list[str]:
    return ["default", *(one["name"] for one in ask(asked, "bootserver", "get_images") if one["name"] != "default")]


def networks(asked: Asked) -> list[str]:
    nodes = ask(asked, "nodes", "get_nodes", selection=MY_NODES)
    uses = [use.name for one in nodes for use in parse_networks(one["config"]["networks"])]
    return list(dict.fromkeys([WALT_NET, *sorted(uses)]))


def users(asked: Asked) -> list[str]:
    return [one["name"] for one in ask(asked, "nodes", "get_users")]


def places(asked: Asked) -> list[str]:
    """'vno' -> 'vnode1:'; what paths there are behind it is not known here."""
    names = [] if ":" in asked.typed else images(asked) if asked.group == "image" else _names_of_nodes(asked)
    return [f"{one}:" for one in names]


def settings(asked: Asked) -> list[str]:
    return setting_words(asked.typed, asked.given, lambda: networks(asked))


def link_options(asked: Asked) -> list[str]:
    return link_words(asked.typed, asked.given)


def _names_of_nodes(asked: Asked) -> list[str]:
    everybodys = asked.command in (*ANYBODYS, *OTHERS)
    nodes = ask(asked, "nodes", "get_nodes", selection=ALL_NODES if everybodys else MY_NODES)
    return [one["name"] for one in nodes]


def ask(asked: Asked, service: str, method: str, **arguments: Any) -> list[dict[str, Any]]:
    """What the service answers, or nothing."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        answer: list[dict[str, Any]] = asked.client.call(service, method, timeout_s=PATIENCE_S, **arguments)
        return answer
    except WaltError:
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_late(number: int, frame: FrameType | None) -> NoReturn:
    raise Unreachable("the platform takes too long to answer")


# --- the command tree ---------------------------------------------------------------------------------------

OFFERS: dict[str, Offer] = {
    "SET": node_sets,
    "[SET]": node_sets,
    "NODE": node_names,
    "IMAGE": images,
    "SRC...": places,
    "DST": places,
    "NETWORK": networks,
    "USER": users,
    "[USER]": users,
    "KEY=VALUE": settings,
    "[KEY=VALUE]...": settings,
    "[OPTION=VALUE]...": link_options,
    "[TOPIC]": lambda asked: topics(),
}
AND_FILES = ("SRC...", "DST")  # of this computer


class Offered(click.ParamType[str]):
    name = "text"

    def __init__(self, offer: Offer, and_files: bool) -> None:
        self._offer = offer
        self._and_files = and_files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        given = ctx.params.get(param.name or "")
        group = ctx.parent.info_name if ctx.parent else None
        asked = Asked(
            ctx.obj, ctx.info_name or "", incomplete, given if isinstance(given, tuple) else (), group=group or ""
        )
        words = [CompletionItem(word) for word in self._offer(asked) if word.startswith(incomplete)]
        files = [CompletionItem(incomplete, type="file")] if self._and_files and ":" not in incomplete else []
        return [*words, *files]


def parameters(tree: click.Command) -> Iterator[click.Parameter]:
    yield from tree.params
    if isinstance(tree, click.Group):
        for command in tree.commands.values():
            yield from parameters(command)


def declare_offers(tree: click.Command) -> None:
    for parameter in parameters(tree):
        offer = OFFERS.get(parameter.metavar or "")
        if offer:
            parameter.type = Offered(offer, parameter.metavar in AND_FILES)
