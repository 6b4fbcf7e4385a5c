"""Subnets of users' networks and addresses of nodes on them. Networks that there are keep none: their users gave the
interfaces addresses of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("networks", sa.Column("subnets", sa.String(255), nullable=False, server_default=""))
    op.add_column("ports", sa.Column("addresses", sa.String(255), nullable=False, server_default=""))
