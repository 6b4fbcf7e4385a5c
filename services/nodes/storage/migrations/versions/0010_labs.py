"""Labs: documents that users applied, and the lab of each node."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "labs",
        sa.Column("owner_account", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(20), primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("applied_at", sa.Float, nullable=False),
    )
    op.add_column("nodes", sa.Column("lab", sa.String(20), nullable=False, server_default=""))
