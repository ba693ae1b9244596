"""The tables of labels, and of files that users upload."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table

from worker.ledger.schema.money_tables import COUNTED
from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, UtcDateTime

labels = Table(
    "labels",
    metadata,
    Column("generation_id", CleanText, ForeignKey("generations.id"), primary_key=True),
    Column("name", CleanText, primary_key=True),
    Column("value", CleanText, nullable=False),
)
Index("ix_labels_name", labels.c.name, labels.c.value, labels.c.generation_id)

# Charges for generations with a label. Like `budgets`, whose key has no column for it.
label_budgets = Table(
    "label_budgets",
    metadata,
    Column("name", CleanText, primary_key=True),
    Column("value", CleanText, primary_key=True),
    *(Column(state.value, BigInteger, nullable=False) for state in COUNTED),
    # The last day on which the budget was reported as exhausted.
    Column("told", CleanText),
)

# Files in the bucket that generations refer to in their options.
inputs = Table(
    "inputs",
    metadata,
    Column("sha256", CleanText, primary_key=True),
    Column("object_key", CleanText, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("content_type", CleanText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # When a submission last named it: it must not be pruned before that submission is written to the ledger.
    Column("used_at", UtcDateTime, nullable=False),
)
Index("ix_inputs_used", inputs.c.used_at)

input_uses = Table(
    "input_uses",
    metadata,
    Column("generation_id", CleanText, ForeignKey("generations.id"), primary_key=True),
    Column("sha256", CleanText, ForeignKey("inputs.sha256"), primary_key=True),
)
Index("ix_input_uses_sha256", input_uses.c.sha256, input_uses.c.generation_id)
