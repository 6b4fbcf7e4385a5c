"""Physical nodes: machines that are not ours, beside the virtual ones."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("type", sa.String(16), nullable=False, server_default="virtual"))
