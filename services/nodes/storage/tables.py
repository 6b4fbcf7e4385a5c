"""The registry's tables, as the last migration leaves them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from walt.contracts.nodes import ABSENT, VIRTUAL

LongInteger = Integer().with_variant(BigInteger(), "postgresql")  # an Integer of SQLite has 64 bits

metadata = MetaData()

# One row: the identity of this registry, where it is in its history (domain/history.py), and the last id that it gave.
registry = Table(
    "registry",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("epoch", String(32), nullable=False, server_default=""),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("last_id", Integer, nullable=False, server_default="0"),
    Column("last_vni", Integer, nullable=False, server_default="0"),
)

# To whom things belong. An id is random, so that it is never used again, be it that a backup was restored. A name is
# free again when its account has ended. pending: of the command that changes the account at the broker, or "".
accounts = Table(
    "accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(255), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("removed_at", Float),  # null: it is present
    Column("pending", String(32), nullable=False, server_default=""),
    Column("pending_since", Float, nullable=False, server_default="0"),
    Column("limits", JSON, nullable=False, server_default="{}"),  # its own, by field of UserLimits; else those of all
)

Index(
    "one_present_account_per_name",
    accounts.c.name,
    unique=True,
    sqlite_where=accounts.c.removed_at.is_(None),
    postgresql_where=accounts.c.removed_at.is_(None),
)

# Of its history. last_sequence: null in the present one, and in those that were not ours and were accepted.
epochs = Table(
    "epochs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("last_sequence", BigInteger),
)

# Agents that have obeyed what is not of this history; until an administrator decides.
disputes = Table(
    "disputes",
    metadata,
    Column("agent", String(255), primary_key=True),
    Column("epoch", String(32), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
)

# Ids are of one counter (`registry.last_id`), so that none is ever used again, also by a registry that was restored.
nodes = Table(
    "nodes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(63), nullable=False),
    Column("host", String(63), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("power", String(8), nullable=False),
    Column("boot", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("image", String(255), nullable=False),
    Column("ip", String(45), nullable=False, unique=True),
    Column("config", JSON, nullable=False),  # NodeConfig, by walt.contracts.serialization
    Column("state", String(16), nullable=False),
    Column("since", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reported_boot", Integer, nullable=False),
    Column("reported_sequence", LongInteger, nullable=False),
    Column("cause", String(64), nullable=False, server_default=""),
    Column("hard", Boolean, nullable=False, server_default=false()),
    Column("type", String(16), nullable=False, server_default=VIRTUAL),
    Column("owner_account", String(32), nullable=False, server_default="", index=True),  # "": free
    Column("lab", String(20), nullable=False, server_default=""),  # of its owner; "": of none
    Column("ram_bytes", BigInteger, nullable=False, server_default="0"),  # of config, to be added up by host
    Column("moves_to", String(63), nullable=False, server_default=""),  # "": it is to stay on its host
    Column("is_leaving", Boolean, nullable=False, server_default=false()),
    Column("moves_from", String(63), nullable=False, server_default="", index=True),  # who has its disks; "": its host
    Column("move", Integer, nullable=False, server_default="0"),
    Index("nodes_by_host", "host", "type", "power", "ram_bytes"),
    sqlite_autoincrement=True,
)

# A name is free again as soon as its node is wanted absent, though the row stays until its host has removed it.
Index(
    "one_present_node_per_name",
    nodes.c.name,
    unique=True,
    sqlite_where=nodes.c.power != ABSENT,
    postgresql_where=nodes.c.power != ABSENT,
)

networks = Table(
    "networks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner_account", String(255), nullable=False),
    Column("name", String(32), nullable=False),
    Column("owner", String(255), nullable=False, server_default=""),
    Column("subnets", String(255), nullable=False, server_default=""),  # "10.64.0.0/24,fd77:616c:7400::/64", "": none
    Column("vni", Integer, nullable=False, server_default="0"),  # its number in the tunnels between hosts
    UniqueConstraint("owner_account", "name", name="one_network_per_owner_and_name"),
    Index("one_network_per_vni", "vni", unique=True),
    sqlite_autoincrement=True,
)

# What users applied as one document. Its nodes are those that bear its name and are of the same account.
labs = Table(
    "labs",
    metadata,
    Column("owner_account", String(32), primary_key=True),
    Column("name", String(20), primary_key=True),
    Column("document", JSON, nullable=False),  # LabDocument, by walt.contracts.serialization
    Column("applied_at", Float, nullable=False),
)

# Servers that run nodes. number 0: the server's host; ip: of its bridge on walt-net, taken from those of virtual nodes.
hosts = Table(
    "hosts",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("ip", String(45), nullable=False, unique=True),
    Column("underlay", String(45), nullable=False, server_default=""),
    Column("version", String(63), nullable=False, server_default=""),
    Column("is_drained", Boolean, nullable=False, server_default=false()),
    Column("capacity", JSON),  # Capacity, by walt.contracts.serialization; null: not known
)

# The MAC of (node, network name) never changes: the row stays when the node leaves the network.
ports = Table(
    "ports",
    metadata,
    Column("node_id", ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
    Column("network", String(32), primary_key=True),
    Column("mac", String(17), nullable=False, unique=True),
    Column("network_id", ForeignKey("networks.id")),  # null on walt-net, and while the node is not in the network
    Column("addresses", String(255), nullable=False, server_default=""),  # "10.64.0.1/24,fd77:616c:7400::1/64"
    Index("ports_by_network", "network_id"),
)

# The file of a disk is named by its id, so an id is never used again: neither for another node nor another owner.
disks = Table(
    "disks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("node_id", ForeignKey("nodes.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),  # 0: vda
    Column("size_bytes", BigInteger, nullable=False),
    Column("template", String(32), nullable=False),
    UniqueConstraint("node_id", "position", name="one_disk_per_position"),
    sqlite_autoincrement=True,
)

# What happened, for `walt log`. An event outlives its node, so it has no foreign key to it.
events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("node", String(63), nullable=False, index=True),
    Column("owner", String(255), nullable=False),
    Column("user", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("owner_account", String(32), nullable=False, server_default="", index=True),
    sqlite_autoincrement=True,
)

# What links follow. An id stands for one content for good, as agents keep it. text: see
# walt/contracts/traces.py.
traces = Table(
    "traces",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner_account", String(32), nullable=False),
    Column("name", String(16), nullable=False),
    Column("loops", Boolean, nullable=False),
    Column("view", JSON, nullable=False),  # TraceView, without who uses it
    Column("text", Text, nullable=False),
    UniqueConstraint("owner_account", "name", name="one_trace_per_name"),
)

# Commands that were obeyed or refused, and what was answered (domain/answers.py), so that one that comes again is not
# obeyed again. number: counts those of an account.
answers = Table(
    "answers",
    metadata,
    Column("account", String(32), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("answer", Text, nullable=False),
    UniqueConstraint("account", "number", name="one_answer_per_number"),
    Index("answers_by_age", "at"),
)
