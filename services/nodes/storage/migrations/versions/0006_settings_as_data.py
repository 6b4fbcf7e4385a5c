"""Settings as data instead of the texts of users, and the cause of a state.

Before: {"ram": "1G", …}, parsed by the settings grammar at each read; missing settings had their defaults. Now:
{"ram_bytes": 1073741824, …}, all fields of NodeConfig. The grammar is imported: users write it, so it stays.
"""

import sqlalchemy as sa
from alembic import op

from walt.contracts import serialization, settings
from walt.contracts.settings import NodeConfig

revision = "0006"
down_revision = "0005"

nodes = sa.table("nodes", sa.column("id", sa.Integer), sa.column("config", sa.JSON))


def upgrade() -> None:
    op.add_column("nodes", sa.Column("cause", sa.String(64), nullable=False, server_default=""))
    connection = op.get_bind()
    for row in connection.execute(sa.select(nodes)).all():
        config = serialization.dump(parsed(row.config))
        connection.execute(sa.update(nodes).where(nodes.c.id == row.id).values(config=config))


def parsed(texts: dict[str, str]) -> NodeConfig:
    values = settings.parse_settings([f"{name}={text}" for name, text in texts.items()])
    return settings.apply_settings(NodeConfig(), values)
