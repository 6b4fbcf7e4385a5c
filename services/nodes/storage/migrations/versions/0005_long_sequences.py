"""Sequences of reports are nanoseconds of the epoch: too long for an integer of PostgreSQL, not for one of SQLite."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("nodes", "reported_sequence", type_=sa.BigInteger)
