"""Batches made from a file, which are found by name, so that submitting the file again adds only new rows.

A new batch is hidden until its last row is written (`unfinished.py`). Rows that are added later are visible, and
dispatched, as they are written: their batch is already in progress.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Text, bindparam, false, func, literal, select, type_coerce, update

from worker.errors import LedgerUnavailable
from worker.ledger.changes import Changes, new_id
from worker.ledger.database import Part, in_bites
from worker.ledger.events import write_addresses
from worker.ledger.flows import line_up
from worker.ledger.generations.batch_facts import BatchFacts
from worker.ledger.generations.creation import flow_of_new, insert_new, rows_of
from worker.ledger.generations.finding import dedupe_of
from worker.ledger.generations.new_generation import New, NewGeneration
from worker.ledger.generations.unfinished import (
    BeingWritten,
    batch_of,
    begin,
    digest_of,
    finish,
    go_on,
    remove_stalled,
)
from worker.ledger.schema import CleanText, batches, generations, storable
from worker.ledger.statements import IDS, LIMIT, Query, columns_of
from worker.subscribers import NotifyAddress

#: key in `input`: the choice that a template made for a row
CHOICE = "_choice"
#: how many times to try, if other submissions have completed or abandoned a batch that this one needs
_TRIES = 5


class RowsTaken(LedgerUnavailable):
    """Another process has written other rows under the same keys since they were read."""

    def __init__(self) -> None:
        super().__init__("another submission changed the batch at the same time; try again")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBatch:
    """A batch and its file. `id`: None for a new batch.

    The fields after `source_sha256` apply only to a new batch. `max_cost`: in millionths; `notify`: where events go.
    """

    name: str
    id: str | None = None
    source: str
    source_sha256: str
    start_at: datetime | None = None
    max_cost: int | None = None
    max_in_flight: int | None = None
    notify: NotifyAddress | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Written:
    """`ids`: of the generations, by `dedupe`; `created`: the ids that this call made visible."""

    batch_id: str
    ids: Mapping[str, str]
    created: frozenset[str]


class KnownRow(NamedTuple):
    """A generation of a batch, with what identifies the row of the file that it was made from."""

    id: str
    batch_id: str
    key: str | None
    dedupe: str
    row_sha256: str | None
    row_version: int | None
    #: whether it is one of several that a template made from its row
    is_choice: bool


class _Begun(NamedTuple):
    id: str
    unfinished: str | None
    unfinished_at: datetime | None


_b, _g = batches.c, generations.c
_BATCH, _NAME = bindparam("batch", type_=CleanText()), bindparam("called", type_=CleanText())
_NAMED = Query(_Begun, select(*columns_of(batches, _Begun)).where(_b.unique_name == _NAME))
_FACTS = select(*columns_of(batches, BatchFacts)).where(_b.unfinished_at.is_(None))
_FACTS_OF_NAME = Query(BatchFacts, _FACTS.where(_b.unique_name == _NAME))
_OF_FILE = Query(
    BatchFacts,
    _FACTS.where(_b.source_sha256 == bindparam("sha256", type_=CleanText())).order_by(_b.id.desc()).limit(LIMIT),
)
_KNOWN = select(
    *(_g[name] for name in KnownRow._fields[:-1]),
    func.coalesce(type_coerce(_g.input, Text).like(f'%"{CHOICE}":%'), false()).label("is_choice"),
)
_ROWS = Query(KnownRow, _KNOWN.where(_g.batch_id == _BATCH, _g.row_number.is_not(None)).order_by(_g.row_number, _g.id))
_HAS_NAME = select(literal(1)).where(_b.name == _NAME, _b.unfinished_at.is_(None)).limit(1)
_OLD_ROWS = Query(
    KnownRow,
    _KNOWN.join(batches, _b.id == _g.batch_id).where(
        _g.dedupe.in_(IDS), _g.parent_id.is_(None), _b.name == _NAME, _b.unfinished_at.is_(None)
    ),
)
_THIS = update(batches).where(_b.id == _BATCH)
_SET = _THIS.values({name: bindparam(name) for name in ("source", "source_sha256")})
_SET_NEW = _SET.values({name: bindparam(name) for name in ("start_at", "max_cost", "max_in_flight")})
# A batch from a version without unique names: from now on, it is found by its name.
_other = batches.alias()
_ADOPT = (
    _THIS.where(_b.unique_name.is_(None), _b.unfinished_at.is_(None))
    .where(~select(literal(1)).where(_other.c.unique_name == _NAME).exists())
    .values(unique_name=_NAME)
)


class FileBatches(Part):
    def batch_named(self, name: str) -> BatchFacts | None:
        """Return the batch with this unique name, once it is visible."""
        with self._database.read() as connection:
            return _FACTS_OF_NAME.first(connection, called=name)

    def batches_of_file(self, sha256: str, limit: int) -> list[BatchFacts]:
        """Return the batches that were made from a file with these bytes, newest first."""
        with self._database.read() as connection:
            return _OF_FILE.all(connection, sha256=sha256, limit=limit)

    def rows_of_batch(self, batch_id: str) -> list[KnownRow]:
        """Return all generations that were made from rows of a file, in its order."""
        with self._database.read() as connection:
            return _ROWS.all(connection, batch=batch_id)

    def old_rows_of(self, name: str, keys: Iterable[str]) -> dict[str, KnownRow]:
        """Return, by key, what versions without unique names have written to batches with this name."""
        with self._database.read() as connection:
            if connection.execute(_HAS_NAME, {"called": name}).first() is None:
                return {}
            rows = _OLD_ROWS.each(connection, [storable(dedupe_of(key)) for key in keys], called=name)
        return {str(row.key): row for row in rows}

    def write_rows(self, batch: FileBatch, wanted: Sequence[NewGeneration]) -> Written:
        """Write rows, each with its own `dedupe`, to a new batch or to the one with this id.

        Raises LedgerUnavailable if others are writing to the batch, which must then be read again, and CommitUnknown.
        In either case, writing again creates nothing twice.
        """
        for left in reversed(range(_TRIES)):
            try:
                return self._write_new(batch, wanted) if batch.id is None else self._add(batch, batch.id, wanted)
            except BeingWritten as error:
                if not remove_stalled(self._database, error.batch_id) or not left:
                    raise
        raise AssertionError

    def _write_new(self, batch: FileBatch, wanted: Sequence[NewGeneration]) -> Written:
        now, request = self._database.clock(), digest_of(wanted)
        with self._database.read() as connection:
            self._refuse_taken(connection, batch.name, request)
            begun = batch_of(connection, request)
        batch_id = begun or new_id("batch", now)
        rows = list(zip(rows_of(wanted, {}, now, batch_id), wanted, strict=True))
        ids: dict[str, str] = {}
        for bite, is_last in in_bites(self._database, rows):
            with self._database.write() as connection:
                changes = Changes(connection, now)
                if begun is None:
                    begin(connection, batch_id, batch.name, request, now, unique_name=batch.name)
                    self._refuse_taken(connection, batch.name, request)
                go_on(connection, batch_id, request, self._database.clock())
                ids |= _write(connection, changes, bite, batch_id)
                if is_last:
                    line_up(connection, {flow_of_new(row) for row, _ in rows})
                    connection.execute(_SET_NEW, {"batch": batch_id, **_facts(batch), **_settings(batch)})
                    if finish(connection, batch_id, request, batch.name) and batch.notify is not None:
                        write_addresses(connection, now, [(batch_id, batch.notify)])
                changes.flush()
            begun = batch_id
        return Written(batch_id, ids, frozenset(ids.values()))

    def _add(self, batch: FileBatch, batch_id: str, wanted: Sequence[NewGeneration]) -> Written:
        now = self._database.clock()
        rows = list(zip(rows_of(wanted, {}, now, batch_id), wanted, strict=True))
        ids: dict[str, str] = {}
        mine = {row["dedupe"]: row["id"] for row, _ in rows}
        for bite, is_last in in_bites(self._database, rows):
            with self._database.write() as connection:
                changes = Changes(connection, now)
                connection.execute(_ADOPT, {"batch": batch_id, "called": batch.name})
                if (named := _NAMED.first(connection, called=batch.name)) is None or named.id != batch_id:
                    raise RowsTaken
                found = _write(connection, changes, bite, batch_id)
                made = [row for row, _ in bite if found[str(row["dedupe"])] == row["id"]]
                line_up(connection, {flow_of_new(row) for row in made})
                if is_last:
                    connection.execute(_SET, {"batch": batch_id, **_facts(batch)})
                changes.flush()
            ids |= found
        return Written(batch_id, ids, frozenset(one for key, one in ids.items() if mine[key] == one))

    def _refuse_taken(self, connection: Connection, name: str, request: str) -> None:
        """Raise BeingWritten or RowsTaken if another request has a batch with this name, hidden or not."""
        found = _NAMED.first(connection, called=name)
        if found is None or found.unfinished == request:
            return
        raise RowsTaken if found.unfinished_at is None else BeingWritten(found.id)


def _write(connection: Connection, changes: Changes, bite: Sequence[New], batch_id: str) -> dict[str, str]:
    """Insert the rows; return the ids by `dedupe`. Raises RowsTaken."""
    owners = insert_new(connection, changes, bite, batch_id)
    if any(row["row_sha256"] != owners[str(row["dedupe"])].row_sha256 for row, _ in bite):
        raise RowsTaken
    return {key: owner.id for key, owner in owners.items()}


def _facts(batch: FileBatch) -> dict[str, object]:
    return {"source": batch.source, "source_sha256": batch.source_sha256}


def _settings(batch: FileBatch) -> dict[str, object]:
    return {"start_at": batch.start_at, "max_cost": batch.max_cost, "max_in_flight": batch.max_in_flight}
