"""Alembic's entry: migrations run in the transaction that `worker.ledger.schema` opened."""

from alembic import context

from worker.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a column only by copying its table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
