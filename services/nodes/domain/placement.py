"""Pure: which host a new node goes to.

Of the hosts that take nodes: those that have room for its memory, as far as it is promised to nodes that are on; of
these, those with most ports on its networks, so that its frames stay on one host; of these, the one with the least part
of its memory promised. Where none has room the node waits at its boot, on the host that these rules choose of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.nodes.domain import hosts
from walt.contracts import units
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.names import WALT_NET
from walt.contracts.network_uses import NetworkUse
from walt.contracts.vmrunner import Capacity


@dataclass(frozen=True)
class HostState:
    """is_drained: it takes no new node; is_reachable: it answers; capacity: None while it is not known; promised_bytes:
    memory of its nodes that are on; ports: how many it has on each network, by name, of the owner of the new nodes."""

    name: str
    is_drained: bool = False
    is_reachable: bool = True
    capacity: Capacity | None = None
    promised_bytes: int = 0
    ports: Mapping[str, int] | None = None

    @property
    def allowed_bytes(self) -> float:
        return self.capacity.ram_bytes * self.capacity.memory_factor if self.capacity else float("inf")

    def could_hold(self, ram_bytes: int) -> bool:
        return self.capacity is None or ram_bytes <= self.capacity.ram_bytes

    def has_room(self, ram_bytes: int) -> bool:
        return self.promised_bytes + ram_bytes <= self.allowed_bytes

    def with_node(self, new: Unplaced) -> HostState:
        ports = dict(self.ports or {})
        for network in new.network_names:
            ports[network] = ports.get(network, 0) + 1
        return replace(self, promised_bytes=self.promised_bytes + new.ram_bytes, ports=ports)

    def rank(self, new: Unplaced) -> tuple[bool, bool, int, float, str]:
        """The least is the best. On one that does not answer a node boots once it does."""
        shared = sum((self.ports or {}).get(network, 0) for network in new.network_names)
        part = (self.promised_bytes + new.ram_bytes) / self.allowed_bytes
        return (not self.is_reachable, not self.has_room(new.ram_bytes), -shared, part, self.name)


@dataclass(frozen=True)
class Unplaced:
    """A new node. host: where it must go, "" for any."""

    name: str
    ram_bytes: int
    networks: tuple[NetworkUse, ...] = ()
    host: str = ""

    @property
    def network_names(self) -> list[str]:
        """Those that its frames to other nodes pass."""
        return [use.name for use in self.networks if use.name != WALT_NET]


@dataclass(frozen=True)
class HostPool:
    """Where new nodes can go. hosts: all of them; server: the name of the server's host; subnet: of walt-net."""

    server: str
    subnet: str
    hosts: tuple[HostState, ...] = ()


def place(new: Sequence[Unplaced], present: Sequence[HostState]) -> dict[str, str]:
    """{node: host}, one node after the other; NotFound, InvalidRequest or Conflict when one can go nowhere."""
    states = {host.name: host for host in present}
    placed = {}
    for one in new:
        chosen = _choose(one, states)
        states[chosen.name] = chosen.with_node(one)
        placed[one.name] = chosen.name
    return placed


def _choose(new: Unplaced, states: Mapping[str, HostState]) -> HostState:
    meant = [hosts.find(states, new.host)] if new.host else list(states.values())
    open_hosts = [host for host in meant if not host.is_drained]
    if not open_hosts:
        drained = ", ".join(host.name for host in meant)
        raise Conflict(f"{new.name} cannot go to {drained}, which must take none; allowed: a host that is not drained")
    fitting = [host for host in open_hosts if host.could_hold(new.ram_bytes)]
    if not fitting:
        capacities = {host.name: host.capacity for host in open_hosts if host.capacity}
        raise InvalidRequest(*faults_of_ram(new.ram_bytes, capacities))
    return min(fitting, key=lambda host: host.rank(new))


def faults_of_ram(ram_bytes: int, capacities: Mapping[str, Capacity]) -> list[str]:
    """A sentence when none of these hosts could ever hold it. {host: what it has}"""
    if not capacities or any(ram_bytes <= one.ram_bytes for one in capacities.values()):
        return []
    largest = max(capacities, key=lambda host: capacities[host].ram_bytes)
    where = f"host {largest}" if len(capacities) == 1 else f"any host ({largest} has most)"
    return [
        f"ram={units.format_memory(ram_bytes)} is more than {where} could ever hold; "
        f"allowed: at most {units.format_memory(capacities[largest].ram_bytes)}"
    ]
