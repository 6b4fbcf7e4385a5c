"""Where the registry is in its history, so that one restored from a backup is told from the one that agents have
obeyed since; and one counter for all ids, which skips what a lost registry may have given."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

COUNTED = ("nodes", "networks", "disks")


def upgrade() -> None:
    with op.batch_alter_table("registry") as registry:
        registry.add_column(sa.Column("epoch", sa.String(32), nullable=False, server_default=""))
        registry.add_column(sa.Column("sequence", sa.BigInteger, nullable=False, server_default="0"))
        registry.add_column(sa.Column("last_id", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "epochs",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("last_sequence", sa.BigInteger),
    )
    op.create_table(
        "disputes",
        sa.Column("agent", sa.String(255), primary_key=True),
        sa.Column("epoch", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    connection = op.get_bind()
    last = max(_last_id(connection, table) for table in COUNTED)
    connection.execute(sa.text("UPDATE registry SET last_id = :last"), {"last": last})


def _last_id(connection: sa.Connection, table: str) -> int:
    """The highest that was ever given, also to a row that is gone."""
    if connection.dialect.name == "sqlite":
        return connection.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name = :table"), {"table": table}) or 0
    return connection.scalar(sa.text(f"SELECT last_value FROM {table}_id_seq")) or 0
