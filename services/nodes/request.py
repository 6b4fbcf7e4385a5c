"""Pure: the settings of a command, checked as far as they can be without the nodes, and against the hosts.

Every fault is kept, so that those which only a node shows can be told together with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.contracts import settings, units
from services.contracts.errors import InvalidRequest
from services.contracts.settings import NodeConfig
from services.contracts.vmrunner import Capacity
from services.nodes import physical
from services.nodes.model import Node

_RELATED = ("boot.delay", "boot.timeout")  # each is checked against the other
_OF_HOST = {"ram_bytes", "cpu_cores"}

Limits = Mapping[str, Capacity]  # {host: what it has}, of the hosts that have told


@dataclass(frozen=True)
class Requested:
    """values: of the settings without a fault; comparable: whether those of _RELATED are among these, if given."""

    values: dict[str, Any]
    faults: tuple[str, ...] = ()
    comparable: bool = True

    @property
    def concerns_host(self) -> bool:
        return not _OF_HOST.isdisjoint(self.values)


def parse(texts: Sequence[str]) -> Requested:
    try:
        return Requested(settings.parse_settings(texts))
    except InvalidRequest as refused:
        alone = [(text.partition("=")[0], _parse_alone(text)) for text in texts]
        values = {field: value for _, found in alone for field, value in found.items()}
        wrong = [name for name, found in alone if not found]
        return Requested(values, refused.args, not any(name in _RELATED for name in wrong))


def fitted(config: NodeConfig, requested: Requested) -> tuple[NodeConfig, list[str]]:
    """The configuration with these settings, and the faults that they have together with it."""
    if not requested.comparable:
        return config, []
    try:
        return settings.apply_settings(config, requested.values), []
    except InvalidRequest as refused:
        return config, list(refused.args)


def configured(nodes: Sequence[Node], requested: Requested, limits: Limits) -> list[NodeConfig]:
    """The configurations of all of them with these settings, or InvalidRequest with all faults of each."""
    configs, faults = [], list(requested.faults)
    for node in nodes:
        config, unfit = fitted(node.config, requested)
        configs.append(config)
        faults += physical.setting_faults(node, requested.values) or [f"{node.name}: {sentence}" for sentence in unfit]
    faults += host_faults(requested, [node.host for node in nodes if node.is_virtual], limits)
    if faults:
        raise InvalidRequest(*faults)
    return configs


def host_faults(requested: Requested, hosts: Iterable[str], limits: Limits) -> list[str]:
    """What is more than its host could ever hold."""
    ram_bytes = requested.values.get("ram_bytes", 0)
    return [
        f"ram={units.format_memory(ram_bytes)} is more than host {host} could ever hold; "
        f"allowed: at most {units.format_memory(limits[host].ram_bytes)}"
        for host in sorted(set(hosts) & set(limits))
        if ram_bytes > limits[host].ram_bytes
    ]


def _parse_alone(text: str) -> dict[str, Any]:
    try:
        return settings.parse_settings([text])
    except InvalidRequest:
        return {}
