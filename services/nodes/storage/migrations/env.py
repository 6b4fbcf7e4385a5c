"""Run by alembic: the caller brings the connection."""

from alembic import context

from services.nodes.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,  # SQLite can, when the driver leaves transactions to us
)
with context.begin_transaction():
    context.run_migrations()
