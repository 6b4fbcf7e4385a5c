"""Traces that users imported, for their links to follow."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "traces",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner_account", sa.String(32), nullable=False),
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("loops", sa.Boolean, nullable=False),
        sa.Column("view", sa.JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.UniqueConstraint("owner_account", "name", name="one_trace_per_name"),
    )
