"""Hosts that have announced themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
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
