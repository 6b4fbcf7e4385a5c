"""Nodes, networks and ports.

A migration is history: it spells the tables out and never imports today's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("host", sa.String(63), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("power", sa.String(8), nullable=False),
        sa.Column("boot", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("image", sa.String(255), nullable=False),
        sa.Column("ip", sa.String(45), nullable=False, unique=True),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("reported_boot", sa.Integer, nullable=False),
        sa.Column("reported_sequence", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    present = sa.text("power != 'absent'")
    op.create_index(
        "one_present_node_per_name", "nodes", ["name"], unique=True, sqlite_where=present, postgresql_where=present
    )
    op.create_table(
        "networks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.UniqueConstraint("owner", "name", name="one_network_per_owner_and_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ports",
        sa.Column("node_id", sa.Integer, sa.ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("network", sa.String(32), primary_key=True),
        sa.Column("mac", sa.String(17), nullable=False, unique=True),
        sa.Column("network_id", sa.Integer, sa.ForeignKey("networks.id")),
    )
