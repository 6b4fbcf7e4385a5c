"""The setting `networks`, in the order of the interfaces: 'walt-net,home-net[lat=10ms,addr=10.1.2.7/24]'. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from walt.contracts import links, names, port_addresses, units
from walt.contracts.links import LinkChange, LinkModel

MAX_NETWORKS = 28  # PCI slots 2 to 29 of machine type `pc`


@dataclass(frozen=True)
class NetworkUse:
    """One item of `networks`: the name its owner gave, the link of this node's port on it, and its address
    (walt/contracts/port_addresses.py)."""

    name: str
    link: LinkModel = field(default_factory=LinkModel)
    address: str = port_addresses.AUTOMATIC


@dataclass(frozen=True)
class PortChange:
    """address: None where it stays."""

    link: LinkChange = field(default_factory=LinkChange)
    address: str | None = None


def parse_networks(text: str) -> tuple[NetworkUse, ...]:
    """'walt-net,home-net[lat=10ms]' -> two NetworkUse; Faults of all the networks."""
    items, faults = units.split_outside_brackets(text), list[str]()
    uses = units.parse_each(_parse_network, items, faults)
    given = [item.partition("[")[0] for item in items]
    faults += [f"'{name}' is given twice; allowed: each network once" for name in units.doubled(given)]
    if names.WALT_NET not in given:
        faults.append(f"'{text}' is without {names.WALT_NET}; allowed: a list with it, as the node boots over it")
    if len(items) > MAX_NETWORKS:
        faults.append(f"{len(items)} networks are too many; allowed: at most {MAX_NETWORKS} (PCI slots of the machine)")
    if faults:
        raise units.Faults(*faults)
    return tuple(uses)


def format_networks(uses: Sequence[NetworkUse]) -> str:
    return ",".join(use.name + (f"[{words}]" if (words := ",".join(format_port(use))) else "") for use in uses)


def parse_port(network: str, words: Sequence[str]) -> NetworkUse:
    """'home-net', ['lat=10ms', 'addr=10.1.2.7/24'] -> the port; Faults of all words, or of their combination."""
    link, faults = LinkModel(), list[str]()
    try:
        link = check_carrier(network, links.parse_options(link, _options(words)))
    except units.Faults as found:
        faults += found.args
    addresses = _parse_addresses(network, words, faults)
    if faults:
        raise units.Faults(*faults)
    return NetworkUse(network, link, *addresses)


def parse_change(network: str, words: Sequence[str]) -> PortChange:
    """['lat=10ms', 'addr=10.1.2.7/24'], each word once; Faults of all of them."""
    link, faults = LinkChange(), list[str]()
    try:
        link = links.parse_change(_options(words))
    except units.Faults as found:
        faults += found.args
    addresses = _parse_addresses(network, words, faults)
    if faults:
        raise units.Faults(*faults)
    return PortChange(link, *addresses)


def check_port_word(network: str, word: str) -> None:
    """By itself: one link option, or an address; Faults."""
    if _is_address(word):
        parse_port(network, [word])
    else:
        check_carrier(network, links.with_change(LinkModel(), links.parse_change([word])))


def check_carrier(network: str, link: LinkModel) -> LinkModel:
    """The link itself, or Faults: without walt-net a node neither boots nor is reached."""
    if link.no_carrier and network == names.WALT_NET:
        raise units.Faults(
            f"'carrier=down' is not for {network}; allowed: up, as the node boots and is reached over it"
        )
    return link


def format_port(use: NetworkUse) -> list[str]:
    """The words that `parse_port` takes: ['lat=10ms', 'addr=10.1.2.7/24']."""
    words = [f"{port_addresses.OPTION}={use.address}"] if use.address else []
    return [*filter(None, links.format_link(use.link).split(",")), *words]


def _options(words: Sequence[str]) -> list[str]:
    """Of the link."""
    return [word for word in words if not _is_address(word)]


def _parse_addresses(network: str, words: Sequence[str], faults: list[str]) -> list[str]:
    """Those given: none or one."""
    given = [word for word in words if _is_address(word)]
    addresses = units.parse_each(_parse_address, given, faults)
    if len(given) > 1:
        faults.append(f"{port_addresses.OPTION} is given twice; allowed: once")
    if given and network == names.WALT_NET:
        faults.append(f"'{given[0]}' is not for {network}; allowed: without, as the platform gives its addresses")
    return addresses


def _is_address(word: str) -> bool:
    return word.partition("=")[0] == port_addresses.OPTION


def _parse_address(word: str) -> str:
    try:
        return port_addresses.parse(word.partition("=")[2])
    except ValueError as allowed:
        raise units.Faults(f"'{word}' is not an address of a port; allowed: {allowed}") from None


def _parse_network(item: str) -> NetworkUse:
    name, bracket, rest = item.partition("[")
    faults = list[str]()
    if not names.is_network_name(name):
        faults.append(f"'{name}' is not a network name; allowed: {names.NETWORK_NAME_RULE}")
    parsed = units.parse_each(lambda text: _parse_bracket(name, text), [rest] if bracket else [], faults)
    if faults:
        raise units.Faults(*faults)
    return parsed[0] if parsed else NetworkUse(name)


def _parse_bracket(name: str, rest: str) -> NetworkUse:
    """rest: what is behind the bracket."""
    if not rest.endswith("]") or len(rest) < 2:
        raise units.Faults(f"{name}: '[{rest}' is not a link; allowed: [OPTION,…] with options {links.LINK_RULE}")
    try:
        return parse_port(name, rest[:-1].split(","))
    except units.Faults as found:
        raise units.Faults(*(f"{name}: {sentence}" for sentence in found.args)) from None
