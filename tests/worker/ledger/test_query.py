"""Statements know the type of their rows, and the types are those of the columns."""

import pkgutil
import types
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, SmallInteger, select

from tests.factories import queued
from worker import ledger as ledger_room
from worker.ledger import Ledger
from worker.ledger.schema import CleanText, UtcDateTime, generations, prunes
from worker.ledger.statements import IDS, Query, columns_of, insert_ignoring, query

PYTHON = {
    CleanText: str, UtcDateTime: datetime, Integer: int, BigInteger: int, SmallInteger: int, Float: float,
    LargeBinary: bytes,
}  # fmt: skip


class Key(NamedTuple):
    id: str
    provider: str


class Renamed(NamedTuple):
    id: str
    vendor: str


def test_a_statement_that_does_not_give_the_fields_of_its_rows_is_refused_when_it_is_built():
    table = generations.c
    with pytest.raises(TypeError, match=r"Renamed has the fields \('id', 'vendor'\), but its statement gives"):
        Query(Renamed, select(table.id, table.provider))
    with pytest.raises(TypeError, match="Key has the fields"):
        Query(Key, select(table.provider, table.id))
    with pytest.raises(KeyError, match="vendor"):
        columns_of(generations, Renamed)
    Query(Renamed, select(*columns_of(generations, Renamed, vendor="provider")))


def test_rows_of_more_ids_than_one_statement_may_carry_are_all_found(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query, "_MOST_IDS", 3)
    made = [one.id for one in queued(ledger, 7)]
    these = Query(Key, select(*columns_of(generations, Key)).where(generations.c.id.in_(IDS)))
    with ledger.database.read() as connection:
        assert sorted(row.id for row in these.each(connection, made)) == sorted(made)
        assert these.each(connection, []) == []
        assert these.first(connection, ids=["gen_none"]) is None
        assert these.first(connection, ids=made[:1]) == Key(made[0], "acedata")


def queries() -> Iterator[tuple[str, Query[Any]]]:
    modules = [one.name for one in pkgutil.walk_packages(ledger_room.__path__, "worker.ledger.")]
    for name in modules:
        if ".versions." not in name and not name.endswith(".env"):
            for variable, value in vars(import_module(name)).items():
                if isinstance(value, Query):
                    yield f"{name}.{variable}", value


def test_each_field_of_a_row_has_the_type_of_its_column():
    """All that is read as it is; what a database computes is left out."""
    seen = 0
    for name, known in queries():
        hints = get_type_hints(known._row)
        for column in known._statement.exported_columns:
            base = next(iter(column.base_columns), None)
            if not isinstance(base, Column) or type(base.type) not in PYTHON:
                continue
            hint = hints[column.key]
            kinds = set(get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
            expected = PYTHON[type(base.type)]
            # A word of one of our enums is a str.
            assert all(issubclass(kind, expected) for kind in kinds - {types.NoneType}), f"{name}: {column.key}"
            seen += 1
    assert seen > 100


def test_an_insert_that_leaves_rows_alone_says_how_many_were_new(ledger: Ledger) -> None:
    """On PostgreSQL SQLAlchemy says -1 of an INSERT whose count it has not been asked to keep."""
    row = {"kind": "events", "before": ledger.database.clock()}
    counts = []
    for _ in range(2):
        with ledger.database.write() as connection:
            counts.append(connection.execute(insert_ignoring(connection, prunes), row).rowcount)
    assert counts == [1, 0]
