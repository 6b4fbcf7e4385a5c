"""What each account may have. Accounts of before have no limits until an administrator gives them some: which of them
are administrators, only the broker knows."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

LIMITED = ("nodes", "ram_bytes", "disk_bytes", "images", "image_bytes")


def upgrade() -> None:
    op.add_column("accounts", sa.Column("limits", sa.JSON, nullable=False, server_default="{}"))
    accounts = sa.table("accounts", sa.column("limits", sa.JSON))
    op.get_bind().execute(sa.update(accounts).values(limits=dict.fromkeys(LIMITED)))
