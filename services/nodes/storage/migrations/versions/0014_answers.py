"""Answers of commands, so that one that comes again is not obeyed again."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("account", sa.String(32), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.UniqueConstraint("account", "number", name="one_answer_per_number"),
    )
    op.create_index("answers_by_age", "answers", ["at"])
