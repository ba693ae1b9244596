"""Indexes over some rows of a table."""

from sqlalchemy import ColumnElement, Index, TextClause


def partial_index(name: str, *columns: ColumnElement[object] | TextClause, where: str, unique: bool = False) -> Index:
    """Return an index over the rows with this condition.

    Only migrations create indexes. As an argument for a database, the condition would load the dialects of both: 2 MB
    in each process.
    """
    return Index(name, *columns, unique=unique, info={"where": where})
