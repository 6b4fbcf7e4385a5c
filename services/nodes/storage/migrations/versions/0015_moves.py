"""Nodes that move to other hosts."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("moves_to", sa.String(63), nullable=False, server_default=""))
    op.add_column("nodes", sa.Column("is_leaving", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("nodes", sa.Column("moves_from", sa.String(63), nullable=False, server_default=""))
    op.add_column("nodes", sa.Column("move", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_nodes_moves_from", "nodes", ["moves_from"])
