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

from services.contracts.nodes import ABSENT, VIRTUAL

LongInteger = Integer().with_variant(BigInteger(), "postgresql")  # an integer of SQLite is that long

metadata = MetaData()

# One row: the identity of this registry.
registry = Table("registry", metadata, Column("id", String(32), primary_key=True))

# sqlite_autoincrement: an id is never given again, not even that of the last row deleted.
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
    Column("config", JSON, nullable=False),  # {setting: text}, in the settings grammar
    Column("state", String(16), nullable=False),
    Column("since", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reported_boot", Integer, nullable=False),
    Column("reported_sequence", LongInteger, nullable=False),
    Column("hard", Boolean, nullable=False, server_default=false()),
    Column("type", String(16), nullable=False, server_default=VIRTUAL),
    sqlite_autoincrement=True,
)

# A name is free again as soon as its node is wanted absent, though the row stays until the host is clean.
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
    Column("owner", String(255), nullable=False),
    Column("name", String(32), nullable=False),
    UniqueConstraint("owner", "name", name="one_network_per_owner_and_name"),
    sqlite_autoincrement=True,
)

# The MAC of (node, network name) is for good: the row stays when the node leaves the network.
ports = Table(
    "ports",
    metadata,
    Column("node_id", ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
    Column("network", String(32), primary_key=True),
    Column("mac", String(17), nullable=False, unique=True),
    Column("network_id", ForeignKey("networks.id")),  # null on walt-net, and while the node is not in the network
)

# The file of a disk bears its id, so no id is ever given again: not to another node, nor to another owner of this one.
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

# What happened, for `walt log`. It outlives its node, so that it refers to none.
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
    sqlite_autoincrement=True,
)
