"""Which hosts there are and which of them answer, as their agents announce it.

The registry keeps what an announcement says; when it came is kept here. A host that has announced itself before, and
does not any more, is unreachable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from services.nodes.domain import hosts
from services.nodes.domain.hosts import HostRecord
from services.nodes.domain.placement import HostPool, HostState
from services.nodes.peers.capacities import HostCapacities
from services.nodes.storage.registry import Registry, RegistryStore
from walt.contracts.errors import Conflict
from walt.contracts.hosts import UNREACHABLE_AFTER_S, AgentPresent, HostAddresses
from walt.contracts.vmrunner import SERVICE as VMRUNNER

log = logging.getLogger(__name__)


class HostDirectory:
    """server: the name of the server's host; announce: takes the addresses of all hosts whenever they change."""

    def __init__(
        self,
        store: RegistryStore,
        capacities: HostCapacities,
        server: str,
        subnet: str,
        announce: Callable[[HostAddresses], object],
    ) -> None:
        self.server = server
        self._store = store
        self._capacities = capacities
        self.subnet = subnet
        self._announce = announce
        self._seen_at = dict[str, float]()  # when its vmrunner announced itself last, by the monotonic clock
        with store.transaction() as registry:
            self._put_server(registry)
            self._known = _by_name(registry)
        for host in self._known.values():
            if host.version:
                self._seen_at[host.name] = time.monotonic()  # it has as long to announce itself again
            if host.capacity:
                capacities.learn(host.name, host.capacity)

    @property
    def known(self) -> dict[str, HostRecord]:
        """By name, the server's host first."""
        return self._known

    @property
    def addresses(self) -> HostAddresses:
        return hosts.addresses(self._known.values())

    def find(self, name: str) -> HostRecord:
        return hosts.find(self._known, name)

    def pool(self) -> HostPool:
        """What new nodes are placed by, without what present ones use."""
        capacities, reachable = self._capacities.of(self._known), set(self.reachable())
        states = (
            HostState(one.name, one.is_drained, one.name in reachable, capacities.get(one.name))
            for one in self._known.values()
        )
        return HostPool(self.server, self.subnet, tuple(states))

    def unreachable_since(self) -> dict[str, float]:
        """{host: epoch seconds of its last word} of those that do not answer."""
        now, wall = time.monotonic(), time.time()
        silent = {name: now - at for name, at in self._seen_at.items() if name in self._known}
        return {name: wall - age_s for name, age_s in silent.items() if age_s > UNREACHABLE_AFTER_S}

    def answering(self) -> dict[str, bool]:
        unreachable = self.unreachable_since()
        return {name: name not in unreachable for name in self._known}

    def reachable(self) -> list[str]:
        return [name for name, answers in self.answering().items() if answers]

    def announced(self, said: AgentPresent) -> None:
        """An agent says that it is there."""
        if said.agent == VMRUNNER:
            if said.host in self.unreachable_since():
                log.warning("host %s answers again", said.host)
            self._seen_at[said.host] = time.monotonic()
        if said.capacity:
            self._capacities.learn(said.host, said.capacity)
        host = self._known.get(said.host)
        if host is None or hosts.announced(host, said) != host:
            self._update(said)

    def check_answers(self, name: str) -> None:
        """NotFound; Conflict while nothing is heard of it."""
        if not self.answering()[self.find(name).name]:
            raise Conflict(f"host {name} does not answer, and has the disks of its nodes; allowed: once it does")

    def set_drained(self, name: str, is_drained: bool) -> None:
        with self._store.transaction() as registry:
            registry.hosts.put(hosts.drained(self.find(name), is_drained))
            self._known = _by_name(registry)

    def check_is_empty(self, name: str) -> None:
        """Conflict while there are nodes on it; a host that has not joined has none."""
        if name in self._known:
            with self._store.transaction() as registry:
                hosts.check_removable(self.find(name), registry.hosts.nodes_on(name), is_unreachable=True)

    def remove(self, name: str, is_out: bool) -> None:
        """NotFound, or Conflict while it is in use. is_out: its agents can announce nothing any more."""
        host = self.find(name)
        with self._store.transaction() as registry:
            hosts.check_removable(host, registry.hosts.nodes_on(name), is_out or self._is_silent(name))
            registry.hosts.remove(name)
        del self._known[name]
        self._seen_at.pop(name, None)
        self._announce(self.addresses)

    def _is_silent(self, name: str) -> bool:
        return name not in self._seen_at or name in self.unreachable_since()

    def _update(self, said: AgentPresent) -> None:
        before = self.addresses
        with self._store.transaction() as registry:
            stored = _by_name(registry)
            host = stored.get(said.host)
            if host is None:
                host = hosts.new_host(said.host, list(stored.values()), registry.ips(), self.subnet)
                log.warning("host %s has joined: %s on walt-net", host.name, host.ip)
            registry.hosts.put(hosts.announced(host, said))
            self._known = _by_name(registry)
        if self.addresses != before:
            self._announce(self.addresses)

    def _put_server(self, registry: Registry) -> None:
        """The server's host is the one of this name, whatever it was called before."""
        first = next(iter(registry.hosts.all()), None)
        if first is None or first.name != self.server:
            if first is not None and first.number == hosts.SERVER_NUMBER:
                registry.hosts.remove(first.name)
            registry.hosts.put(hosts.server_host(self.server, self.subnet))


def _by_name(registry: Registry) -> dict[str, HostRecord]:
    return {host.name: host for host in registry.hosts.all()}
