"""Indexes over some rows of a table."""

from sqlalchemy import ColumnElement, Index, TextClause


def partial_index(name: str, *columns: ColumnElement[object] | TextClause, where: str, unique: bool = False) -> Index:
    """Return an index over the rows that meet this condition.

    Only migrations create indexes. Passed as a dialect's option, the condition would load the dialects of both
    databases: 2 MB in each process.
    """
    return Index(name, *columns, unique=unique, info={"where": where})
