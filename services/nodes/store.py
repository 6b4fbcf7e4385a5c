"""The registry in its database: nodes, the networks of their owners, the MACs of their ports."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from services.contracts import names, settings
from services.contracts.errors import WaltError
from services.contracts.health import FAIL, OK, Check
from services.contracts.nodes import WALT_NET_ID, Disk, Network
from services.contracts.settings import NetworkUse, NodeConfig
from services.nodes import allocation, tables
from services.nodes.database import Database
from services.nodes.eventlog import EventLog
from services.nodes.journal import EVENTS_KEPT
from services.nodes.model import Node, Status

WALT_NET = Network(WALT_NET_ID, names.WALT_NET, "")


class Store:
    def __init__(self, url: str, events_kept: int = EVENTS_KEPT) -> None:
        self._database = Database(url)
        self._events_kept = events_kept

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Registry]:
        """All or nothing: an error inside leaves the registry as it was."""
        with self._database.transaction() as connection:
            yield Registry(connection)

    def prune_events(self) -> None:
        with self.transaction() as registry:
            registry.events.prune(self._events_kept)

    def diagnose(self) -> Check:
        subject = "database"
        try:
            with self.transaction() as registry:
                present = sum(node.is_present for node in registry.nodes())
        except WaltError as error:
            consequence = "no command on nodes is carried out; the nodes themselves run on"
            return Check(
                subject, FAIL, str(error), consequence, "look after the database (WALT_DATABASE_URL), or its disk"
            )
        return Check(subject, OK, f"{self._database.kind}, {present} nodes")

    def close(self) -> None:
        self._database.close()


class Registry:
    """The registry within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.events = EventLog(connection)

    def identity(self) -> str:
        """Of this database, for good."""
        return str(self._connection.scalars(sa.select(tables.registry.c.id)).one())

    def nodes(self) -> list[Node]:
        """All of them, by id, also those wanted absent."""
        rows = self._connection.execute(sa.select(tables.nodes).order_by(tables.nodes.c.id)).mappings()
        ports = self._ports(sa.true())
        disks = self._disks(sa.true())
        return [_node(row, ports.get(row["id"], {}), disks.get(row["id"], ())) for row in rows]

    def get(self, node_id: int) -> Node | None:
        query = sa.select(tables.nodes).where(tables.nodes.c.id == node_id)
        row = self._connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        ports = self._ports(tables.ports.c.node_id == node_id)
        disks = self._disks(tables.disks.c.node_id == node_id)
        return _node(row, ports.get(node_id, {}), disks.get(node_id, ()))

    def save(self, node: Node) -> Node:
        """The node as stored: with its id when it is new, and with its interfaces and disks."""
        values = _values(node)
        if node.id:
            self._connection.execute(sa.update(tables.nodes).where(tables.nodes.c.id == node.id).values(values))
            node_id = node.id
        else:
            node_id = self._insert(tables.nodes, values)
        self._plug(node_id, node.owner, node.config.networks)
        self._equip(node_id, node.disks)
        saved = self.get(node_id)
        assert saved is not None
        return saved

    def add_machine(self, node: Node, mac: str) -> Node:
        """A new node whose MAC on walt-net is there already."""
        node_id = self._insert(tables.nodes, _values(node))
        port = {"node_id": node_id, "network": names.WALT_NET, "mac": mac, "network_id": None}
        self._connection.execute(sa.insert(tables.ports).values(port))
        return self.save(replace(node, id=node_id))

    def save_status(self, node: Node) -> None:
        self._connection.execute(
            sa.update(tables.nodes).where(tables.nodes.c.id == node.id).values(_status_values(node.status))
        )

    def delete(self, node_id: int) -> None:
        self._connection.execute(sa.delete(tables.nodes).where(tables.nodes.c.id == node_id))
        self._drop_unused_networks()

    def _plug(self, node_id: int, owner: str, uses: tuple[NetworkUse, ...]) -> None:
        of_node = tables.ports.c.node_id == node_id
        self._connection.execute(sa.update(tables.ports).where(of_node).values(network_id=None))
        known = set(self._connection.scalars(sa.select(tables.ports.c.network).where(of_node)))
        for use in uses:
            network_id = None if use.name == names.WALT_NET else self._network_id(owner, use.name)
            if use.name in known:
                row = sa.update(tables.ports).where(of_node, tables.ports.c.network == use.name)
                self._connection.execute(row.values(network_id=network_id))
            else:
                port = {"node_id": node_id, "network": use.name, "mac": self._new_mac(), "network_id": network_id}
                self._connection.execute(sa.insert(tables.ports).values(port))
        self._drop_unused_networks()

    def _equip(self, node_id: int, disks: tuple[Disk, ...]) -> None:
        """These disks in this order: those without a number get one, those not among them go."""
        table = tables.disks
        kept = [disk.id for disk in disks if disk.id]
        of_node = table.c.node_id == node_id
        self._connection.execute(sa.delete(table).where(of_node, table.c.id.not_in(kept)))
        # Out of the way first: each position is taken once, at any moment.
        self._connection.execute(sa.update(table).where(of_node).values(position=-1 - table.c.position))
        for position, disk in enumerate(disks):
            values = {"position": position, "size_bytes": disk.size_bytes, "template": disk.template}
            if disk.id:
                self._connection.execute(sa.update(table).where(of_node, table.c.id == disk.id).values(values))
            else:
                self._connection.execute(sa.insert(table).values(node_id=node_id, **values))

    def _network_id(self, owner: str, name: str) -> int:
        networks = tables.networks
        query = sa.select(networks.c.id).where(networks.c.owner == owner, networks.c.name == name)
        found = self._connection.scalar(query)
        return found if found is not None else self._insert(networks, {"owner": owner, "name": name})

    def _new_mac(self) -> str:
        taken = set(self._connection.scalars(sa.select(tables.ports.c.mac)))
        return allocation.new_mac(taken, secrets.randbits)

    def _drop_unused_networks(self) -> None:
        used = sa.select(tables.ports.c.network_id).where(tables.ports.c.network_id.is_not(None))
        self._connection.execute(sa.delete(tables.networks).where(tables.networks.c.id.not_in(used)))

    def _insert(self, table: sa.Table, values: dict[str, Any]) -> int:
        key = self._connection.execute(sa.insert(table).values(values)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _ports(self, which: sa.ColumnElement[bool]) -> dict[int, dict[str, tuple[str, Network]]]:
        """{node id: {network name: (mac, network)}} of the ports that are in use."""
        ports, networks = tables.ports, tables.networks
        in_use = sa.or_(ports.c.network_id.is_not(None), ports.c.network == names.WALT_NET)
        query = sa.select(ports, networks.c.owner).outerjoin(networks).where(in_use, which)
        found: dict[int, dict[str, tuple[str, Network]]] = {}
        for row in self._connection.execute(query):
            network = Network(row.network_id, row.network, row.owner) if row.network_id is not None else WALT_NET
            found.setdefault(row.node_id, {})[row.network] = (row.mac, network)
        return found

    def _disks(self, which: sa.ColumnElement[bool]) -> dict[int, tuple[Disk, ...]]:
        """{node id: its disks in order}."""
        query = sa.select(tables.disks).where(which).order_by(tables.disks.c.position)
        found: dict[int, tuple[Disk, ...]] = {}
        for row in self._connection.execute(query):
            found[row.node_id] = (*found.get(row.node_id, ()), Disk(row.id, row.size_bytes, row.template))
        return found


def _node(row: Mapping[Any, Any], ports: Mapping[str, tuple[str, Network]], disks: tuple[Disk, ...]) -> Node:
    texts = [f"{name}={text}" for name, text in row["config"].items()]
    config = settings.apply_settings(NodeConfig(), settings.parse_settings(texts))
    macs = {name: mac for name, (mac, _) in ports.items()}
    networks = {name: network for name, (_, network) in ports.items()}
    plain = ("id", "name", "host", "owner", "power", "boot", "version", "image", "ip", "hard", "type")
    return Node(
        **{column: row[column] for column in plain},
        config=config,
        status=Status(row["state"], row["since"], row["reason"], row["reported_boot"], row["reported_sequence"]),
        interfaces=allocation.interfaces(config.networks, networks, macs),
        disks=disks,
    )


def _values(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "host": node.host,
        "owner": node.owner,
        "power": node.power,
        "boot": node.boot,
        "version": node.version,
        "image": node.image,
        "ip": node.ip,
        "hard": node.hard,
        "type": node.type,
        "config": settings.show_settings(node.config),
        **_status_values(node.status),
    }


def _status_values(status: Status) -> dict[str, Any]:
    return {
        "state": status.state,
        "since": status.since,
        "reason": status.reason,
        "reported_boot": status.boot,
        "reported_sequence": status.sequence,
    }
