"""The registry in its database: nodes, the networks of their owners, the MACs of their ports."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from services.nodes.domain import model, traces
from services.nodes.domain.event_texts import EVENTS_KEPT
from services.nodes.domain.model import Node, NodeSummary
from services.nodes.domain.network_addresses import AddressPlan
from services.nodes.domain.selection import Selection
from services.nodes.storage import rows, tables
from services.nodes.storage.account_table import AccountTable
from services.nodes.storage.answer_table import AnswerTable
from services.nodes.storage.database import Database
from services.nodes.storage.event_log import EventLog
from services.nodes.storage.history import History
from services.nodes.storage.host_table import HostTable
from services.nodes.storage.lab_table import LabTable
from services.nodes.storage.node_watch import NodeWatches
from services.nodes.storage.port_table import PortTable
from services.nodes.storage.trace_table import TraceTable
from walt.contracts import names
from walt.contracts.limits import UNLIMITED, UserLimits
from walt.contracts.nodes import ABSENT, PHYSICAL, VIRTUAL, Disk, NodeWanted

NODES, PORTS, DISKS, NETWORKS = tables.nodes, tables.ports, tables.disks, tables.networks
PRESENT = NODES.c.power != ABSENT


class RegistryStore:
    """kind: of its database, sqlite or postgresql; limits: of users without limits of their own; plan: of the addresses
    on their networks."""

    def __init__(
        self,
        url: str,
        events_kept: int = EVENTS_KEPT,
        limits: UserLimits = UNLIMITED,
        plan: AddressPlan = AddressPlan(),  # noqa: B008  # it is immutable
    ) -> None:
        self._database = Database(url)
        self.kind = self._database.kind
        self._events_kept = events_kept
        self._limits = limits
        self._plan = plan
        self.watches = NodeWatches()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Registry]:
        """All or nothing: an error inside leaves the registry as it was."""
        with self._database.transaction() as connection:
            registry = Registry(connection, self._limits, self._plan)
            yield registry
        self.watches.tell(registry.changed)

    def begin_epoch(self, now: float) -> None:
        """At each start of nodes. now: epoch seconds."""
        with self.transaction() as registry:
            registry.history.begin_epoch(now)

    def prune(self, now: float) -> None:
        """What is kept for some time only. now: epoch seconds."""
        with self.transaction() as registry:
            registry.events.prune(self._events_kept)
            registry.answers.prune(now)

    def close(self) -> None:
        self._database.close()


class Registry:
    """The registry within one transaction. Nodes are in the order of their ids."""

    def __init__(self, connection: sa.Connection, limits: UserLimits, plan: AddressPlan) -> None:
        self._connection = connection
        self.changed = set[int]()  # ids of the nodes that it changes
        self.events = EventLog(connection)
        self.accounts = AccountTable(connection, limits)
        self.answers = AnswerTable(connection)
        self.labs = LabTable(connection)
        self.hosts = HostTable(connection)
        self.history = History(connection)
        self.traces = TraceTable(connection, self.history)
        self._ports = PortTable(connection, self.history, plan)

    @functools.cached_property
    def identity(self) -> str:
        """Of this database; it never changes."""
        return str(self._connection.scalars(sa.select(tables.registry.c.id)).one())

    def nodes(self) -> list[Node]:
        """All of them, including those wanted absent."""
        return self._nodes(sa.true())

    def virtual_nodes(self, host: str) -> list[Node]:
        """Of this host, including those wanted absent."""
        return self._nodes((NODES.c.host == host) & (NODES.c.type == VIRTUAL))

    def nodes_of_host(self, host: str) -> list[Node]:
        """Virtual and physical nodes, including those wanted absent, and those whose disks it has still."""
        return self._nodes((NODES.c.host == host) | (NODES.c.moves_from == host))

    def nodes_of_others(self, host: str) -> list[Node]:
        """The present nodes of all other hosts."""
        return self._nodes(PRESENT & (NODES.c.host != host))

    def physical_nodes(self) -> list[Node]:
        """Including those wanted absent."""
        return self._nodes(NODES.c.type == PHYSICAL)

    def selected(self, selection: Selection) -> list[Node]:
        """The present nodes that the selection means."""
        if selection.is_all:
            return self._nodes(PRESENT)
        by_name = sa.select(NODES.c.id).where(PRESENT, NODES.c.name.in_(selection.names))
        by_account = sa.select(NODES.c.id).where(PRESENT, NODES.c.owner_account.in_(selection.accounts))
        return self._nodes(NODES.c.id.in_(by_name.union(by_account)))  # each has an index, but not both together

    def of_lab(self, account: str, lab: str, names: Collection[str] = ()) -> list[Node]:
        """The present nodes of this lab of this account, and those of these names, whosever."""
        of_lab = sa.select(NODES.c.id).where(PRESENT, NODES.c.owner_account == account, NODES.c.lab == lab)
        by_name = sa.select(NODES.c.id).where(PRESENT, NODES.c.name.in_(names))
        return self._nodes(NODES.c.id.in_(of_lab.union(by_name)))

    def names_by_lab(self, account: str) -> dict[str, list[str]]:
        """{lab: names of its present nodes, sorted} of this account; "" for those of no lab."""
        query = sa.select(NODES.c.lab, NODES.c.name).where(PRESENT, NODES.c.owner_account == account)
        found: dict[str, list[str]] = {}
        for row in self._connection.execute(query.order_by(NODES.c.name)):
            found.setdefault(row.lab, []).append(row.name)
        return found

    def get(self, node_id: int) -> Node | None:
        return self._node(NODES.c.id == node_id)

    def named(self, name: str) -> Node | None:
        return self._node(PRESENT & (NODES.c.name == name))

    def with_ip(self, ip: str) -> Node | None:
        """Also one wanted absent, as for `with_mac`."""
        return self._node(NODES.c.ip == ip)

    def with_mac(self, mac: str) -> Node | None:
        return self._node(NODES.c.id.in_(sa.select(PORTS.c.node_id).where(PORTS.c.mac == mac)))

    def specs(self, nodes: Iterable[Node]) -> tuple[NodeWanted, ...]:
        """For their agents."""
        revision, nodes = self.history.revision, list(nodes)
        following = {node.owner_account for node in nodes if traces.follows(node)}
        ids = self.traces.ids(following) if following else {}
        return tuple(
            replace(model.spec(node, self.identity, revision), interfaces=traces.with_ids(node, ids)) for node in nodes
        )

    def names(self, account: str | None = None) -> list[str]:
        """Of the present nodes, or of those of one account, sorted."""
        owned = PRESENT if account is None else PRESENT & (NODES.c.owner_account == account)
        return list(self._connection.scalars(sa.select(NODES.c.name).where(owned).order_by(NODES.c.name)))

    def owners(self, of: Collection[str]) -> dict[str, str]:
        """{name: owner} of the present nodes with these names."""
        query = sa.select(NODES.c.name, NODES.c.owner).where(PRESENT, NODES.c.name.in_(of))
        return {row.name: row.owner for row in self._connection.execute(query)}

    def ips(self) -> set[str]:
        """All that are taken, also by nodes wanted absent, and by hosts."""
        return set(self._connection.scalars(sa.union_all(sa.select(NODES.c.ip), sa.select(tables.hosts.c.ip))))

    def summaries(self) -> list[NodeSummary]:
        """Of the present nodes."""
        columns = (NODES.c.name, NODES.c.owner, NODES.c.image, NODES.c.host, NODES.c.state, NODES.c.lab)
        query = sa.select(*columns).where(PRESENT).order_by(NODES.c.name)
        return [NodeSummary(**row) for row in self._connection.execute(query).mappings()]

    def save(self, node: Node) -> Node:
        """The node as stored: with its id when it is new, and with its interfaces and disks."""
        self.history.changed()
        values = rows.values_of(node)
        if node.id:
            self._connection.execute(sa.update(NODES).where(NODES.c.id == node.id).values(values))
            known, left = self._ports.disconnect(node.id)
            self._ports.connect(node.id, node, known)
            self._ports.drop_unused(left)
            self._drop_disks(node.id, [disk.id for disk in node.disks])
            node_id = node.id
        else:
            node_id = self._insert(NODES, values)
            self._ports.connect(node_id, node, {})
        self._save_disks(node_id, node.disks)
        self.changed.add(node_id)
        saved = self.get(node_id)
        assert saved is not None
        return saved

    def reserve_addresses(self, nodes: Iterable[Node]) -> None:
        """Addresses on networks that these nodes ask for are chosen for no other node in this transaction."""
        self._ports.reserve(nodes)

    def add_machine(self, node: Node, mac: str) -> Node:
        """A new physical node, which brings its MAC on walt-net."""
        node_id = self._insert(NODES, rows.values_of(node))
        self._ports.add(node_id, names.WALT_NET, mac)
        return self.save(replace(node, id=node_id))

    def save_status(self, node: Node) -> None:
        self.changed.add(node.id)
        values = rows.status_values(node.status)
        self._connection.execute(sa.update(NODES).where(NODES.c.id == node.id).values(values))

    def delete(self, node_id: int) -> None:
        self.history.changed()
        _, left = self._ports.disconnect(node_id)
        self._connection.execute(sa.delete(NODES).where(NODES.c.id == node_id))
        self._ports.drop_unused(left)

    def _drop_disks(self, node_id: int, kept: Sequence[int]) -> None:
        """All but the kept ones, which get negative positions: those of a node must be unique after each statement."""
        of_node = DISKS.c.node_id == node_id
        self._connection.execute(sa.delete(DISKS).where(of_node, DISKS.c.id.not_in(kept)))
        self._connection.execute(sa.update(DISKS).where(of_node).values(position=-1 - DISKS.c.position))

    def _save_disks(self, node_id: int, disks: tuple[Disk, ...]) -> None:
        """In this order; those without an id get one. Those of before were dropped, or moved out of the way; one that
        comes back from the trash has no row."""
        for position, disk in enumerate(disks):
            values = {"position": position, "size_bytes": disk.size_bytes, "template": disk.template}
            if not disk.id:
                self._insert(DISKS, {"node_id": node_id, **values})
            elif self.has_disk(disk.id):
                self._connection.execute(sa.update(DISKS).where(DISKS.c.id == disk.id).values(values))
            else:
                self._connection.execute(sa.insert(DISKS).values(id=disk.id, node_id=node_id, **values))

    def has_disk(self, disk_id: int) -> bool:
        return self._connection.scalar(sa.select(DISKS.c.id).where(DISKS.c.id == disk_id)) is not None

    def _insert(self, table: sa.Table, values: dict[str, Any]) -> int:
        new_id = self.history.new_id()
        self._connection.execute(sa.insert(table).values(id=new_id, **values))
        return new_id

    def _node(self, which: sa.ColumnElement[bool]) -> Node | None:
        return next(iter(self._nodes(which)), None)

    def _nodes(self, which: sa.ColumnElement[bool]) -> list[Node]:
        found = self._connection.execute(sa.select(NODES).where(which).order_by(NODES.c.id)).mappings().all()
        ids = sa.select(NODES.c.id).where(which)
        ports, disks = self._ports.of_nodes(PORTS.c.node_id.in_(ids)), self._disks(DISKS.c.node_id.in_(ids))
        return [rows.node_of(row, ports.get(row["id"], {}), disks.get(row["id"], ())) for row in found]

    def _disks(self, which: sa.ColumnElement[bool]) -> dict[int, tuple[Disk, ...]]:
        """{node id: its disks in order}."""
        found: dict[int, tuple[Disk, ...]] = {}
        for row in self._connection.execute(sa.select(DISKS).where(which).order_by(DISKS.c.position)):
            found[row.node_id] = (*found.get(row.node_id, ()), Disk(row.id, row.size_bytes, row.template))
        return found
