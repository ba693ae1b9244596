"""Column types that behave the same on SQLite and PostgreSQL."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

from sqlalchemy import Column, DateTime, Dialect, Table, Text
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.types import TypeDecorator

AnyTable: TypeAlias = Table[ReadOnlyColumnCollection[str, Column[object]]]


def storable(text: str) -> str:
    """Replace what PostgreSQL cannot store but JSON from outside may carry: NUL and lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def in_states(column: str, states: Sequence[StrEnum | None]) -> str:
    """The condition that a column has one of these states, worded alike for indexes and queries; None is NULL."""
    words = [f"'{state}'" for state in states if state is not None]
    parts = [f"{column} IS NULL"] if None in states else []
    if words:
        parts.append(f"{column} = {words[0]}" if len(words) == 1 else f"{column} IN ({', '.join(words)})")
    if len(parts) > 1:
        return f"({' OR '.join(parts)})"
    return parts[0] if parts else "1 = 0"


class CleanText(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        # isascii() makes the common case free; NUL is ASCII, so it is checked separately.
        if value is None or (value.isascii() and "\x00" not in value):
            return value
        return storable(value)


#: one encoder, because `json.dumps` creates a new one for each value
_as_json = json.JSONEncoder(separators=(",", ":")).encode


class Json(TypeDecorator[object]):
    """JSON in a text column: escapes keep every character storable, and no query looks inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:  # noqa: ARG002
        # Most values of a new generation are empty, and encoding takes a fifth of the time to write it.
        if value == {}:
            return "{}"
        if value in ([], ()):
            return "[]"
        return None if value is None else _as_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:  # noqa: ARG002
        return None if value is None else json.loads(value)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; SQLite has no time zones, so the zone is restored on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
