"""Pure: the settings of a command, parsed once, then applied to nodes and checked against their hosts.

Every fault is kept, so that the faults of the settings are reported together with those that only a node shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.nodes.domain import physical
from services.nodes.domain.model import Node
from walt.contracts import settings, units
from walt.contracts.errors import InvalidRequest
from walt.contracts.settings import NodeConfig, ParsedSettings
from walt.contracts.vmrunner import Capacity

_RELATED = {"boot.delay", "boot.timeout"}  # each is checked against the other
HOST = "host="  # of no node alone: not among its other settings
_OF_HOST = {"ram_bytes", "cpu_cores"}

Capacities = Mapping[str, Capacity]  # {host: what it has}, of the hosts that have reported it


@dataclass(frozen=True)
class SettingsRequest:
    """values: of the settings without a fault, by their field in NodeConfig; is_complete: whether the settings that are
    checked against each other are without a fault, if given. host: where the nodes are to be, "" for where they are."""

    values: dict[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    is_complete: bool = True
    host: str = ""

    @property
    def concerns_host(self) -> bool:
        return not _OF_HOST.isdisjoint(self.values)


def parse(texts: Sequence[str]) -> SettingsRequest:
    hosts = [text.removeprefix(HOST) for text in texts if text.startswith(HOST)]
    parsed: ParsedSettings = settings.parse_with_faults([text for text in texts if not text.startswith(HOST)])
    faults = parsed.faults
    if len(hosts) > 1:
        faults += ("host is given twice; allowed: once",)
    if "" in hosts:
        faults += ("host= names no host; allowed: the name of one (walt host list)",)
    return SettingsRequest(parsed.values, faults, _RELATED.isdisjoint(parsed.faulty), hosts[0] if hosts else "")


def applied(config: NodeConfig, request: SettingsRequest) -> tuple[NodeConfig, list[str]]:
    """The configuration with these settings, and the faults that they have in combination with it."""
    if not request.is_complete:
        return config, []
    try:
        return settings.apply_settings(config, request.values), []
    except InvalidRequest as refused:
        return config, list(refused.args)


def new_configs(nodes: Sequence[Node], request: SettingsRequest, capacities: Capacities) -> list[NodeConfig]:
    """The configurations of all nodes with these settings, or InvalidRequest with all faults of each."""
    configs, faults = [], list(request.faults)
    for node in nodes:
        config, inconsistent = applied(node.config, request)
        configs.append(config)
        inconsistent += persist_faults(node.config, config)
        faults += physical.setting_faults(node, request.values) or [f"{node.name}: {fault}" for fault in inconsistent]
    faults += host_faults(request, [node.host for node in nodes if node.is_virtual], capacities)
    if faults:
        raise InvalidRequest(*faults)
    return configs


def persist_faults(old: NodeConfig, new: NodeConfig) -> list[str]:
    """Former owners of the node have such disks too, and what is in them cannot be moved together without its guest."""
    if new.persist_bytes >= old.persist_bytes:
        return []
    now = units.format_disk(old.persist_bytes)
    asked = units.format_disk(new.persist_bytes)
    return [f"persist={asked} is less than its {now}, and /persist is never made smaller; allowed: {now} or more"]


def host_faults(request: SettingsRequest, hosts: Iterable[str], capacities: Capacities) -> list[str]:
    """A sentence for each host that could never hold what is requested."""
    ram_bytes = request.values.get("ram_bytes", 0)
    return [
        f"ram={units.format_memory(ram_bytes)} is more than host {host} could ever hold; "
        f"allowed: at most {units.format_memory(capacities[host].ram_bytes)}"
        for host in sorted(set(hosts) & set(capacities))
        if ram_bytes > capacities[host].ram_bytes
    ]
