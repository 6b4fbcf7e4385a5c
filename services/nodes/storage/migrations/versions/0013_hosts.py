"""Hosts that have announced themselves; indexes for what is asked for by host, network or memory."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("ram_bytes", sa.BigInteger, nullable=False, server_default="0"))
    nodes = sa.table("nodes", sa.column("id"), sa.column("config", sa.JSON), sa.column("ram_bytes"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(nodes.c.id, nodes.c.config)).all():
        ram_bytes = row.config.get("ram_bytes", 0)
        connection.execute(sa.update(nodes).where(nodes.c.id == row.id).values(ram_bytes=ram_bytes))
    op.add_column("registry", sa.Column("last_vni", sa.Integer, nullable=False, server_default="0"))
    op.add_column("networks", sa.Column("vni", sa.Integer, nullable=False, server_default="0"))
    networks = sa.table("networks", sa.column("id"), sa.column("vni"))
    ids = list(connection.scalars(sa.select(networks.c.id).order_by(networks.c.id)))
    for vni, network_id in enumerate(ids, 1):
        connection.execute(sa.update(networks).where(networks.c.id == network_id).values(vni=vni))
    connection.execute(sa.update(sa.table("registry", sa.column("last_vni"))).values(last_vni=len(ids)))
    op.create_index("one_network_per_vni", "networks", ["vni"], unique=True)
    op.create_index("nodes_by_host", "nodes", ["host", "type", "power", "ram_bytes"])
    op.create_index("ports_by_network", "ports", ["network_id"])
    op.create_table(
        "hosts",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, unique=True),
        sa.Column("ip", sa.String(45), nullable=False, unique=True),
        sa.Column("underlay", sa.String(45), nullable=False, server_default=""),
        sa.Column("version", sa.String(63), nullable=False, server_default=""),
        sa.Column("is_drained", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("capacity", sa.JSON),
    )
