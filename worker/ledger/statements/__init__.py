"""Building blocks of the rooms' SQL: for one row, typed rows, or a group of rows at once."""

from worker.ledger.statements.basics import (
    IDS,
    LIMIT,
    NOW,
    Values,
    insert_ignoring,
    insert_into,
    update_row,
)
from worker.ledger.statements.bulk import Change, Updates, insert_rows, together, update_rows
from worker.ledger.statements.query import Query, columns_of

__all__ = [
    "IDS",
    "LIMIT",
    "NOW",
    "Change",
    "Query",
    "Updates",
    "Values",
    "columns_of",
    "insert_ignoring",
    "insert_into",
    "insert_rows",
    "together",
    "update_row",
    "update_rows",
]
