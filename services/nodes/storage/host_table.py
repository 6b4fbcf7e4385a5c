"""The hosts in the database, and what their nodes use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

import sqlalchemy as sa

from services.nodes.domain.hosts import HostRecord, HostUse
from services.nodes.storage.tables import hosts as HOSTS
from services.nodes.storage.tables import networks as NETWORKS
from services.nodes.storage.tables import nodes as NODES
from services.nodes.storage.tables import ports as PORTS
from walt.contracts import serialization
from walt.contracts.nodes import ABSENT, POWER_ON, VIRTUAL
from walt.contracts.vmrunner import Capacity


class HostTable:
    """The hosts within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self) -> list[HostRecord]:
        rows = self._connection.execute(sa.select(HOSTS).order_by(HOSTS.c.number)).mappings()
        return [_host(row) for row in rows]

    def put(self, host: HostRecord) -> None:
        self.remove(host.name)
        capacity = host.capacity and serialization.dump(host.capacity)
        self._connection.execute(sa.insert(HOSTS).values({**asdict(host), "capacity": capacity}))

    def remove(self, name: str) -> None:
        self._connection.execute(sa.delete(HOSTS).where(HOSTS.c.name == name))

    def use(self) -> dict[str, HostUse]:
        """{host: what its present virtual nodes have}."""
        promised = sa.func.sum(sa.case((NODES.c.power == POWER_ON, NODES.c.ram_bytes), else_=0))
        present = (NODES.c.type == VIRTUAL) & (NODES.c.power != ABSENT)
        query = sa.select(NODES.c.host, sa.func.count(), promised).where(present).group_by(NODES.c.host)
        query_left = sa.select(NODES.c.moves_from, sa.func.count()).where(NODES.c.moves_from != "")
        left = {host: count for host, count in self._connection.execute(query_left.group_by(NODES.c.moves_from))}
        here = {host: (count, int(ram)) for host, count, ram in self._connection.execute(query)}
        return {host: HostUse(*here.get(host, (0, 0)), left.get(host, 0)) for host in {*here, *left}}

    def ports(self, account: str, networks: Collection[str]) -> dict[str, dict[str, int]]:
        """{host: {network: how many ports}} of these networks of this account."""
        query = sa.select(NODES.c.host, NETWORKS.c.name, sa.func.count()).join_from(PORTS, NODES).join(NETWORKS)
        query = query.where(NETWORKS.c.owner_account == account, NETWORKS.c.name.in_(networks))
        found: dict[str, dict[str, int]] = {}
        for host, network, count in self._connection.execute(query.group_by(NODES.c.host, NETWORKS.c.name)):
            found.setdefault(host, {})[network] = count
        return found

    def nodes_on(self, name: str) -> list[str]:
        """Names of all nodes of this host, including those wanted absent, those whose disks it has still, and those
        that are to move there."""
        here = (NODES.c.host == name) | (NODES.c.moves_from == name) | (NODES.c.moves_to == name)
        return list(self._connection.scalars(sa.select(NODES.c.name).where(here)))


def _host(row: sa.RowMapping) -> HostRecord:
    values = {str(key): value for key, value in row.items()}
    capacity = values.pop("capacity")
    return HostRecord(**values, capacity=serialization.load(Capacity, capacity) if capacity else None)
