"""The settings grammar: one table from which parsing, checks, display and the reference page are derived.

`parse_settings(["ram=2G", …])` gives values, `apply_settings(config, values)` a new NodeConfig, `show_settings`
the texts. All faults of all settings are reported at once (InvalidRequest, a sentence each); nothing is
clamped or ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from walt.contracts import disks, names, network_uses, units
from walt.contracts.disks import DEFAULT_PERSIST_BYTES, DiskUse
from walt.contracts.errors import InvalidRequest
from walt.contracts.network_uses import NetworkUse

MIN_RAM_BYTES = 64 * 2**20
MAX_RAM_BYTES = 2**50
MAX_CPU_CORES = 255  # what qemu's machine type `pc` takes
MIN_BOOT_TIMEOUT_S = 60
MAX_SECONDS = 86_400
MAX_BOOT_RETRIES = 1_000
MAX_RANDOM_DELAY_S = 10

LAN = "LAN"
NAT = "NAT"
NETSETUPS = (LAN, NAT)

CORES_RULE = f"a whole number from 1 to {MAX_CPU_CORES}"
RAM_RULE = f"{units.MEMORY_RULE}, from {units.format_memory(MIN_RAM_BYTES)} up to what the host could hold"
DELAY_RULE = f"random, or whole seconds from 0 to {MAX_SECONDS}"
TIMEOUT_RULE = f"none, or whole seconds from {MIN_BOOT_TIMEOUT_S} to {MAX_SECONDS}"
NETSETUP_RULE = " or ".join(NETSETUPS)
RETRIES_RULE = f"a whole number from 0 to {MAX_BOOT_RETRIES}"

NEXT_BOOT = "next boot"
AT_ONCE = "at once"
LINKS_LIVE = "at once; an interface whose place changes: next boot"


@dataclass(frozen=True)
class NodeConfig:
    cpu_cores: int = 4
    ram_bytes: int = 512 * 2**20
    boot_delay_s: int | None = None  # None: random, 1 to 10 s
    boot_timeout_s: int | None = 180  # None: never
    boot_retries: int = 9
    disks: tuple[DiskUse, ...] = ()
    networks: tuple[NetworkUse, ...] = (NetworkUse(names.WALT_NET),)
    netsetup: str = LAN
    persist_bytes: int = DEFAULT_PERSIST_BYTES


@dataclass(frozen=True)
class Setting:
    """`parse` raises ValueError(what is allowed) or, for a value that has parts, their Faults."""

    name: str
    field: str
    grammar: str
    takes_effect: str
    help: str
    parse: Callable[[str], Any]
    format: Callable[[Any], str]


@dataclass(frozen=True)
class ParsedSettings:
    """values: of the settings without a fault, by field of NodeConfig; faulty: names of the others."""

    values: dict[str, Any]
    faulty: frozenset[str]
    faults: tuple[str, ...]


def parse_with_faults(texts: Sequence[str]) -> ParsedSettings:
    """['ram=2G', 'cpu.cores=x'] -> the value of ram, the fault of cpu.cores."""
    values, faulty, faults = dict[str, Any](), set[str](), list[str]()
    given = [text.partition("=")[0] for text in texts]
    for name, text in zip(given, texts, strict=True):
        try:
            field_name, value = _parse_one(text)
        except units.Faults as found:
            faulty.add(name)
            faults += found.args
        else:
            values[field_name] = value
    faults += [f"{name} is given twice; allowed: once" for name in units.doubled(given) if name in SETTINGS]
    return ParsedSettings(values, frozenset(faulty), tuple(faults))


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """['ram=2G'] -> {'ram_bytes': 2147483648}; InvalidRequest with every fault found."""
    parsed = parse_with_faults(texts)
    if parsed.faults:
        raise InvalidRequest(*parsed.faults)
    return parsed.values


def apply_settings(config: NodeConfig, values: dict[str, Any]) -> NodeConfig:
    """The new configuration, its values checked against each other; InvalidRequest."""
    new = replace(config, **values)
    longest_delay = MAX_RANDOM_DELAY_S if new.boot_delay_s is None else new.boot_delay_s
    if new.boot_timeout_s is not None and new.boot_timeout_s <= longest_delay:
        raise InvalidRequest(
            f"boot.timeout={new.boot_timeout_s} does not exceed boot.delay={_format_delay(new.boot_delay_s)}; "
            f"allowed: a timeout above {longest_delay} seconds, or none"
        )
    return new


def show_settings(config: NodeConfig) -> dict[str, str]:
    """{'boot.delay': 'random', …}, sorted by key; every text parses back to its value."""
    return {name: SETTINGS[name].format(getattr(config, SETTINGS[name].field)) for name in sorted(SETTINGS)}


def _parse_one(text: str) -> tuple[str, Any]:
    """The field of NodeConfig, and its value."""
    setting, value = units.split_named(text, dict(sorted(SETTINGS.items())), "setting", "ram=2G")
    try:
        return setting.field, setting.parse(value)
    except units.Faults as found:
        raise units.Faults(*(f"{setting.name}: {sentence}" for sentence in found.args)) from None
    except ValueError as allowed:
        raise units.Faults(f"'{value}' is not a value for {setting.name}; allowed: {allowed}") from None


def _whole_between(low: int, high: int, rule: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = units.parse_whole(text)
        except ValueError:
            raise ValueError(rule) from None
        if not low <= value <= high:
            raise ValueError(rule)
        return value

    return parse


def _or_word(word: str, parse: Callable[[str], int]) -> Callable[[str], int | None]:
    return lambda text: None if text == word else parse(text)


def _parse_ram(text: str) -> int:
    value = units.parse_memory_bytes(text)
    if not MIN_RAM_BYTES <= value <= MAX_RAM_BYTES:
        raise ValueError(RAM_RULE)
    return value


def _parse_netsetup(text: str) -> str:
    if text.upper() not in NETSETUPS:
        raise ValueError(NETSETUP_RULE)
    return text.upper()


def _format_delay(seconds: int | None) -> str:
    return "random" if seconds is None else str(seconds)


def _format_timeout(seconds: int | None) -> str:
    return "none" if seconds is None else str(seconds)


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            name="cpu.cores",
            field="cpu_cores",
            grammar=CORES_RULE,
            takes_effect=NEXT_BOOT,
            help="CPU cores of the node; more than the host has is allowed",
            parse=_whole_between(1, MAX_CPU_CORES, CORES_RULE),
            format=str,
        ),
        Setting(
            name="ram",
            field="ram_bytes",
            grammar=RAM_RULE,
            takes_effect=NEXT_BOOT,
            help="memory of the node, in binary units",
            parse=_parse_ram,
            format=units.format_memory,
        ),
        Setting(
            name="boot.delay",
            field="boot_delay_s",
            grammar=DELAY_RULE,
            takes_effect=NEXT_BOOT,
            help=f"pause before each boot; random: 1 to {MAX_RANDOM_DELAY_S} s",
            parse=_or_word("random", _whole_between(0, MAX_SECONDS, DELAY_RULE)),
            format=_format_delay,
        ),
        Setting(
            name="boot.timeout",
            field="boot_timeout_s",
            grammar=TIMEOUT_RULE,
            takes_effect=AT_ONCE,
            help="time a boot may take, with boot.delay but without copying the image to a disk, until it is retried",
            parse=_or_word("none", _whole_between(MIN_BOOT_TIMEOUT_S, MAX_SECONDS, TIMEOUT_RULE)),
            format=_format_timeout,
        ),
        Setting(
            name="boot.retries",
            field="boot_retries",
            grammar=RETRIES_RULE,
            takes_effect=AT_ONCE,
            help="how often a boot that timed out is tried again; 0 turns the watch off",
            parse=_whole_between(0, MAX_BOOT_RETRIES, RETRIES_RULE),
            format=str,
        ),
        Setting(
            name="disks",
            field="disks",
            grammar=disks.DISKS_RULE,
            takes_effect=NEXT_BOOT,
            help="disks of the node, sparse files of the server; making one larger keeps what it holds",
            parse=disks.parse_disks,
            format=disks.format_disks,
        ),
        Setting(
            name="persist",
            field="persist_bytes",
            grammar=disks.PERSIST_RULE,
            takes_effect=NEXT_BOOT,
            help="size of /persist, a sparse disk for each owner of the node; making it larger keeps all files",
            parse=disks.parse_persist,
            format=units.format_disk,
        ),
        Setting(
            name="netsetup",
            field="netsetup",
            grammar=NETSETUP_RULE,
            takes_effect=AT_ONCE,
            help="LAN: the node reaches walt-net only; NAT: also what the server reaches, if its operator allows it",
            parse=_parse_netsetup,
            format=str,
        ),
        Setting(
            name="networks",
            field="networks",
            grammar="list of NAME[lat=…,bw=…,addr=…] (see Links); walt-net mandatory; order = interface order",
            takes_effect=LINKS_LIVE,
            help="networks of the node, what their links do, and its addresses there",
            parse=network_uses.parse_networks,
            format=network_uses.format_networks,
        ),
    )
}
