"""The candidates that completion offers for a word, chosen by the metavar of its parameter: every command has them.

The words of the grammar are pure functions of what is typed so far; names of nodes, networks and images come from the
platform, which has TIMEOUT_S to answer.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from walt.client import Client
from walt.contracts import disks, links, network_uses, port_addresses, units
from walt.contracts.errors import Unreachable, WaltError
from walt.contracts.limits import DEFAULT, NONE, RESOURCES
from walt.contracts.links import DISTRIBUTION_NAMES
from walt.contracts.names import ALL_NODES, FREE_NODES, MY_NODES, NODE_SETS, WALT_NET
from walt.contracts.network_uses import parse_networks
from walt.contracts.settings import NETSETUPS, SETTINGS

from ..topics import topics

TIMEOUT_S = 0.7

# These commands accept other people's nodes, or free ones; all others only the user's own.
FOR_ALL_NODES = ("show", "wait", "ping")
FOR_FREE_NODES = ("acquire",)

VALUES = {
    "cpu.cores": ("1", "2", "4", "8"),
    "ram": ("256M", "512M", "1G", "2G", "4G"),
    "boot.delay": ("random", "0", "5", "10"),
    "boot.timeout": ("none", "180", "600"),
    "boot.retries": ("0", "3", "9"),
    "persist": ("1G", "4G", "16G"),
    "netsetup": NETSETUPS,
}
DISK_SIZES = ("256M", "1G", "8G", "32G", "1T")
LINK_VALUES = {
    "lat": ("1ms", "10ms", "100ms"),
    "jitter": ("1ms", "5ms"),
    "bw": ("512kbps", "10Mbps", "100Mbps", "1Gbps"),
    **dict.fromkeys(("loss", "dup", "corrupt", "reorder"), ("0.1%", "1%", "10%")),
    "dist": DISTRIBUTION_NAMES,
    "burst": ("2", "8"),
    "limit": ("100", "1000"),
    "seed": ("1", "2"),
    "carrier": links.CARRIERS[::-1],
    "trace": ("none",),
}


@dataclass(frozen=True)
class CompletionRequest:
    """One TAB: the word as far as it is typed, and the words of the same repeated argument before it."""

    client: Client
    command: str
    typed: str
    given: Sequence[str] = ()
    group: str = ""


CandidateFinder = Callable[[CompletionRequest], Iterable[str]]


# --- the grammar --------------------------------------------------------------------------------------------


def list_words(text: str, names: Iterable[str]) -> list[str]:
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
    closed = [f"{typed}]"] if _parses(lambda text: network_uses.check_port_word(name, text), typed) else []
    return [start + one for one in (*port_words(typed, options), *closed)]


def port_words(text: str, given: Sequence[str]) -> list[str]:
    """As `link_words`, and the address of the node."""
    word, equals, _ = text.partition("=")
    if equals and word == port_addresses.OPTION:
        return [f"{word}={value}" for value in (port_addresses.AUTO, port_addresses.NONE)]
    taken = {one.partition("=")[0] for one in given}
    return [*link_words(text, given), *([] if equals or word in taken else [f"{port_addresses.OPTION}="])]


def link_words(text: str, given: Sequence[str]) -> list[str]:
    """'' -> 'lat=', …; 'lat=' -> 'lat=10ms', …; 'bw.' -> 'bw.up=', 'bw.down='."""
    word, equals, _ = text.partition("=")
    name, dot, _ = word.partition(".")
    if equals:
        return [f"{word}={value}" for value in LINK_VALUES.get(name, ())]
    taken = {one.partition("=")[0] for one in given}
    sides = [f"{name}.{side}" for side in links.SIDES] if dot and name in links.DIRECTION_OPTIONS else []
    return [f"{one}=" for one in sides or links.LINK_OPTIONS if one not in taken]


def _parses(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


# --- the platform -------------------------------------------------------------------------------------------


def node_sets(request: CompletionRequest) -> list[str]:
    names = [name for name in _names_of_nodes(request) if name not in request.given]
    if request.command in FOR_ALL_NODES:
        return list_words(request.typed, [*names, *NODE_SETS])
    return list_words(request.typed, [*names, FREE_NODES if request.command in FOR_FREE_NODES else MY_NODES])


def node_names(request: CompletionRequest) -> list[str]:
    return _names_of_nodes(request)


def images(request: CompletionRequest) -> list[str]:
    return [
        "default",
        *(one["name"] for one in call_platform(request, "bootserver", "get_images") if one["name"] != "default"),
    ]


def networks(request: CompletionRequest) -> list[str]:
    nodes = call_platform(request, "nodes", "get_nodes", selection=MY_NODES)
    uses = [use.name for one in nodes for use in parse_networks(one["config"]["networks"])]
    return list(dict.fromkeys([WALT_NET, *sorted(uses)]))


def names_from(method: str) -> CandidateFinder:
    """What this method of nodes lists."""
    return lambda request: [one["name"] for one in call_platform(request, "nodes", method)]


def trashed_disks(request: CompletionRequest) -> list[str]:
    disks = call_platform(request, "nodes", "get_trash")
    return [one["id"] for one in disks if one["id"] not in request.given]


def copy_endpoints(request: CompletionRequest) -> list[str]:
    """'vno' -> 'vnode1:'; the paths behind it are not completed."""
    names = [] if ":" in request.typed else images(request) if request.group == "image" else _names_of_nodes(request)
    return [f"{one}:" for one in names]


def settings(request: CompletionRequest) -> list[str]:
    return setting_words(request.typed, request.given, lambda: networks(request))


def link_options(request: CompletionRequest) -> list[str]:
    return port_words(request.typed, request.given)


def _names_of_nodes(request: CompletionRequest) -> list[str]:
    of_everybody = request.command in (*FOR_ALL_NODES, *FOR_FREE_NODES)
    nodes = call_platform(request, "nodes", "get_nodes", selection=ALL_NODES if of_everybody else MY_NODES)
    return [one["name"] for one in nodes]


def call_platform(request: CompletionRequest, service: str, method: str, **arguments: Any) -> list[dict[str, Any]]:
    """The rows that the service answers; none when it fails or is too slow."""
    signal.signal(signal.SIGALRM, _time_out)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT_S)
    try:
        rows: list[dict[str, Any]] = request.client.call(service, method, timeout_s=TIMEOUT_S, **arguments)
        return rows
    except WaltError:
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _time_out(number: int, frame: FrameType | None) -> NoReturn:
    raise Unreachable("the platform takes too long to answer")


def user_limits(request: CompletionRequest) -> list[str]:
    name, equals, _ = request.typed.partition("=")
    if equals:
        return [f"{name}={word}" for word in (NONE, DEFAULT)] if name in RESOURCES else []
    given = {text.partition("=")[0] for text in request.given}
    return [f"{one}=" for one in RESOURCES if one not in given]


# --- the command tree ---------------------------------------------------------------------------------------

CANDIDATES: dict[str, CandidateFinder] = {
    "SET": node_sets,
    "SET...": node_sets,
    "[SET]...": node_sets,
    "NODE": node_names,
    "IMAGE": images,
    "SRC...": copy_endpoints,
    "DST": copy_endpoints,
    "NETWORK": networks,
    "HOST": names_from("get_hosts"),
    "LAB": names_from("get_labs"),
    "TRACE": names_from("get_traces"),
    "[LAB]": names_from("get_labs"),
    "FILE": lambda request: (),
    "USER": names_from("get_users"),
    "[USER]": names_from("get_users"),
    "KEY=VALUE": settings,
    "[KEY=VALUE]...": settings,
    "[OPTION=VALUE]...": link_options,
    "LIMIT=VALUE...": user_limits,
    "ID": trashed_disks,
    "[ID]...": trashed_disks,
    "[TOPIC]": lambda request: topics(),
}
WITH_FILES = ("SRC...", "DST", "LAB", "[LAB]", "FILE")  # of this computer


class CompletingType(click.ParamType[str]):
    name = "text"

    def __init__(self, find: CandidateFinder, with_files: bool) -> None:
        self._find = find
        self._with_files = with_files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        given = ctx.params.get(param.name or "")
        group = ctx.parent.info_name if ctx.parent else None
        request = CompletionRequest(
            ctx.obj, ctx.info_name or "", incomplete, given if isinstance(given, tuple) else (), group=group or ""
        )
        words = [CompletionItem(word) for word in self._find(request) if word.startswith(incomplete)]
        files = [CompletionItem(incomplete, type="file")] if self._with_files and ":" not in incomplete else []
        return [*words, *files]


def parameters(tree: click.Command) -> Iterator[click.Parameter]:
    yield from tree.params
    if isinstance(tree, click.Group):
        for command in tree.commands.values():
            yield from parameters(command)


def complete_parameters(tree: click.Command) -> None:
    """Give each parameter of the tree the type that completes it."""
    for parameter in parameters(tree):
        find = CANDIDATES.get(parameter.metavar or "")
        if find:
            parameter.type = CompletingType(find, parameter.metavar in WITH_FILES)
