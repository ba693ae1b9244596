"""Alembic's entry: migrations run in the transaction that `worker.ledger.schema` opened."""

from alembic import context

from worker.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a column only by copying its table.
    render_as_batch=True,
    # SQLite can take back CREATE TABLE as well, though Alembic does not expect it to.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
