"""The networks of users and the ports of nodes on them: MACs, subnets and addresses."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from services.nodes.domain import addresses, network_addresses
from services.nodes.domain.addresses import AddressedPort
from services.nodes.domain.model import Node
from services.nodes.domain.network_addresses import AddressPlan, TakenAddresses
from services.nodes.storage.history import History
from services.nodes.storage.rows import WALT_NET
from services.nodes.storage.tables import networks as NETWORKS
from services.nodes.storage.tables import ports as PORTS
from walt.contracts import names, port_addresses
from walt.contracts.network_uses import NetworkUse
from walt.contracts.nodes import Network

Known = Mapping[str, tuple[str, ...]]  # {network: the addresses so far} of one node, also of networks that it has left


class PortTable:
    """Within one transaction."""

    def __init__(self, connection: sa.Connection, history: History, plan: AddressPlan) -> None:
        self._connection = connection
        self._history = history
        self._plan = plan
        self._reserved = defaultdict[tuple[str, str], set[str]](set)  # by the account and the name of the network

    def reserve(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            for use in node.config.networks:
                if port_addresses.is_one(use.address):
                    self._reserved[node.owner_account, use.name].add(port_addresses.without_prefix(use.address))

    def disconnect(self, node_id: int) -> tuple[Known, set[int]]:
        """From all networks; its MACs and addresses stay for its return. Also the ids of the networks that it left."""
        of_node = PORTS.c.node_id == node_id
        rows = self._connection.execute(sa.select(PORTS).where(of_node)).all()
        self._connection.execute(sa.update(PORTS).where(of_node).values(network_id=None))
        left = {row.network_id for row in rows if row.network_id is not None}
        return {row.network: _split(row.addresses) for row in rows}, left

    def connect(self, node_id: int, node: Node, known: Known) -> None:
        """To the networks of its configuration; known: as `disconnect` returned it."""
        for use in node.config.networks:
            values = self._values(node, use, known.get(use.name, ()))
            if use.name in known:
                row = sa.update(PORTS).where(PORTS.c.node_id == node_id, PORTS.c.network == use.name)
                self._connection.execute(row.values(values))
            else:
                self.add(node_id, use.name, addresses.new_mac(self._is_taken, secrets.randbits), **values)

    def add(self, node_id: int, network: str, mac: str, **values: Any) -> None:
        port = {"node_id": node_id, "network": network, "mac": mac, **values}
        self._connection.execute(sa.insert(PORTS).values(port))

    def drop_unused(self, networks: Collection[int]) -> None:
        """Those of these networks in which no node is any more."""
        is_used = sa.exists().where(PORTS.c.network_id == NETWORKS.c.id)
        self._connection.execute(sa.delete(NETWORKS).where(NETWORKS.c.id.in_(networks), ~is_used))

    def of_nodes(self, which: sa.ColumnElement[bool]) -> dict[int, dict[str, AddressedPort]]:
        """{node id: {network name: port}} of the ports that are in use."""
        in_use = PORTS.c.network_id.is_not(None) | (PORTS.c.network == names.WALT_NET)
        query = sa.select(PORTS, NETWORKS.c.owner, NETWORKS.c.vni).outerjoin(NETWORKS).where(in_use, which)
        found: dict[int, dict[str, AddressedPort]] = {}
        for row in self._connection.execute(query):
            is_walt_net = row.network_id is None
            network = WALT_NET if is_walt_net else Network(row.network_id, row.network, row.owner, row.vni)
            found.setdefault(row.node_id, {})[row.network] = AddressedPort(row.mac, network, _split(row.addresses))
        return found

    def _values(self, node: Node, use: NetworkUse, present: Sequence[str]) -> dict[str, Any]:
        if use.name == names.WALT_NET:
            return {"network_id": None}
        network_id, subnets = self._network(node, use.name)
        others = self._connection.scalars(sa.select(PORTS.c.addresses).where(PORTS.c.network_id == network_id))
        taken = {port_addresses.without_prefix(one) for text in others for one in _split(text)}
        reserved = self._reserved[node.owner_account, use.name]
        chosen = network_addresses.choose(use, subnets, present, TakenAddresses(taken, reserved), self._plan)
        return {"network_id": network_id, "addresses": ",".join(chosen)}

    def _network(self, node: Node, name: str) -> tuple[int, tuple[str, ...]]:
        """Id and subnets of the network of that name that the node's owner has, or of a new one."""
        of_owner = NETWORKS.c.owner_account == node.owner_account
        found = self._connection.execute(sa.select(NETWORKS).where(of_owner, NETWORKS.c.name == name)).one_or_none()
        if found is not None:
            return found.id, _split(found.subnets)
        rows = self._connection.scalars(sa.select(NETWORKS.c.subnets).where(of_owner))
        subnets = network_addresses.new_subnets(self._plan, {one for text in rows for one in _split(text)})
        network_id, owner = self._history.new_id(), {"owner_account": node.owner_account, "owner": node.owner}
        new = {"id": network_id, "name": name, "subnets": ",".join(subnets), "vni": self._free_vni(), **owner}
        self._connection.execute(sa.insert(NETWORKS).values(new))
        return network_id, subnets

    def _free_vni(self) -> int:
        while True:
            vni = self._history.new_vni()
            if self._connection.scalar(sa.select(NETWORKS.c.id).where(NETWORKS.c.vni == vni)) is None:
                return vni

    def _is_taken(self, mac: str) -> bool:
        return self._connection.scalar(sa.select(PORTS.c.mac).where(PORTS.c.mac == mac)) is not None


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))
