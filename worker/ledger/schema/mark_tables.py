"""The table of marks: which images people have picked, and which they have rejected."""

from enum import StrEnum

from sqlalchemy import Column, ForeignKey, Integer, Table

from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, UtcDateTime


class Mark(StrEnum):
    PICKED = "picked"
    REJECTED = "rejected"


#: what its person can take back
UNDOABLE = "previous IS NOT NULL"

marks = Table(
    "marks",
    metadata,
    # An image: the asset of this index.
    Column("generation_id", CleanText, ForeignKey("generations.id"), primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    # `Mark`
    Column("verdict", CleanText, nullable=False),
    Column("by", CleanText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    # The verdict before this one, empty for none; NULL once that was taken back.
    Column("previous", CleanText),
)
partial_index("ix_marks_by", marks.c.by, marks.c.at, where=UNDOABLE)
