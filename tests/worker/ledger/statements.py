"""The statements that a ledger sends, without those that it sends now and then, whatever it is asked to do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from worker.ledger import Ledger

#: which version the tables have, asked once a second; who writes meanwhile, asked only on PostgreSQL
_NOW_AND_THEN = ("alembic_version", "pg_locks")


@contextmanager
def statements_of(ledger: Ledger) -> Iterator[list[str]]:
    """Those that are sent meanwhile; one for each row where rows are given one by one."""
    sent: list[str] = []

    def note(
        _: object, _cursor: object, statement: str, parameters: Sequence[Any], _context: object, many: bool
    ) -> None:
        if not any(one in statement for one in _NOW_AND_THEN):
            sent.extend([statement] * (len(parameters) if many else 1))

    engine = ledger.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
