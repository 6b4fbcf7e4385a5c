"""Accounts: what a user has belongs to his account, not to its name, which another may bear later.

Each owner of before gets an account. The networks of one owner become those of his account: the column is renamed, so
that its constraint goes with it.
"""

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

OWNED = ("nodes", "networks", "events")


def upgrade() -> None:
    accounts = op.create_table(
        "accounts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, index=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("removed_at", sa.Float),
        sa.Column("pending", sa.String(32), nullable=False, server_default=""),
        sa.Column("pending_since", sa.Float, nullable=False, server_default="0"),
    )
    present = sa.text("removed_at IS NULL")
    op.create_index(
        "one_present_account_per_name",
        "accounts",
        ["name"],
        unique=True,
        sqlite_where=present,
        postgresql_where=present,
    )
    for name in ("nodes", "events"):
        op.add_column(name, sa.Column("owner_account", sa.String(32), nullable=False, server_default=""))
        op.create_index(f"ix_{name}_owner_account", name, ["owner_account"])
    op.execute("ALTER TABLE networks RENAME COLUMN owner TO owner_account")
    op.add_column("networks", sa.Column("owner", sa.String(255), nullable=False, server_default=""))
    op.execute("UPDATE networks SET owner = owner_account")
    tables = [sa.table(name, sa.column("owner"), sa.column("owner_account")) for name in OWNED]
    connection = op.get_bind()
    owners = connection.scalars(sa.union(*(sa.select(table.c.owner) for table in tables))).all()
    for owner in filter(None, owners):
        account = uuid.uuid4().hex
        connection.execute(sa.insert(accounts).values(id=account, name=owner, created_at=time.time()))
        for table in tables:
            connection.execute(sa.update(table).where(table.c.owner == owner).values(owner_account=account))
