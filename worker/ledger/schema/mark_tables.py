"""The table of marks: which images people have picked or rejected."""

from enum import StrEnum

from sqlalchemy import Column, ForeignKey, Integer, Table

from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, UtcDateTime


class Mark(StrEnum):
    PICKED = "picked"
    REJECTED = "rejected"


#: marks that their person can undo
UNDOABLE = "previous IS NOT NULL"

marks = Table(
    "marks",
    metadata,
    # The image: the asset with this index.
    Column("generation_id", CleanText, ForeignKey("generations.id"), primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    # `Mark`
    Column("verdict", CleanText, nullable=False),
    Column("by", CleanText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    # The previous verdict, empty for none; NULL once this one was undone.
    Column("previous", CleanText),
)
partial_index("ix_marks_by", marks.c.by, marks.c.at, where=UNDOABLE)
