"""Read-only queries for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, select, tuple_

from worker.errors import NotFound
from worker.generation import Asset, AttemptState, Generation, Lineage, State, Transition, Verdict
from worker.ledger.events import Undelivered, last_settled, public_id, undelivered_of
from worker.ledger.flows import unfinished
from worker.ledger.generations.batch_pages import batches_of, page_of_batches
from worker.ledger.generations.label_pages import (
    has_labels,
    named,
    page_with_labels,
    with_labels,
)
from worker.ledger.generations.totals import NO_LABELS, Totals, spent_on_family
from worker.ledger.labels import labels_of
from worker.ledger.lineage import lineages_of
from worker.ledger.outcome import CallbackNote
from worker.ledger.rows import ASSET, GENERATION, AssetRow, GenerationRow, to_asset, to_generation
from worker.ledger.schema import (
    BY_STATE,
    CleanText,
    assets,
    attempts,
    callbacks,
    charges,
    events,
    generations,
    prunes,
    transitions,
)
from worker.ledger.statements import IDS, LIMIT, Query, columns_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    id: str
    account: str
    number: int
    state: AttemptState
    task_id: str | None
    error: str | None
    sent_at: datetime
    #: while its own task is unknown: tasks in the provider's list, one of which may be its own
    candidates: tuple[str, ...] = ()
    #: callbacks that arrived for it and were not kept
    callbacks_refused: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    public_id: str
    at: datetime
    type: str
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Move:
    """A change of state. `number`: its position among all changes in the ledger."""

    number: int
    transition: Transition


class Child(NamedTuple):
    """A follow-up of a generation."""

    id: str
    action: str | None
    state: State


class Charge(NamedTuple):
    """What one attempt costs, in millionths. `state`: of a charge, such as `spent`, `reserved` or `released`."""

    number: int
    price: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything known about one generation."""

    generation: Generation
    lineage: Lineage
    labels: Mapping[str, str]
    #: including all of its descendants, in millionths
    spent_in_total: int
    children: tuple[Child, ...]
    charges: tuple[Charge, ...]
    assets: tuple[Asset, ...]
    transitions: tuple[Transition, ...]
    attempts: tuple[Attempt, ...]
    callbacks: tuple[CallbackNote, ...]
    events: tuple[Event, ...]
    undelivered: tuple[Undelivered, ...]
    #: for callbacks and events, the time before which they were deleted, if this generation is older
    pruned_before: Mapping[str, datetime]


#: attempts whose task a person may find
_UNKNOWN_TASK = (AttemptState.UNCERTAIN, AttemptState.ABANDONED)
#: the most moves that one statement reads
_MOVES_PAGE = 1000


class _Transition(NamedTuple):
    id: int
    generation_id: str
    #: its `from`, which is a Python keyword
    source: str | None
    to: str
    at: datetime
    cause: str


class _AttemptRow(NamedTuple):
    id: str
    account: str
    number: int
    state: str
    task_id: str | None
    error: str | None
    sent_at: datetime
    candidates: Sequence[str] | None
    callbacks_refused: int


class _Came(NamedTuple):
    id: int
    attempt_id: str
    received_at: datetime
    verdict: str | None
    error: str | None
    size: int


class _EventRow(NamedTuple):
    id: int
    at: datetime
    type: str
    payload: Mapping[str, object]


class _Pruned(NamedTuple):
    kind: str
    before: datetime


_t, _g, _a, _c, _e = transitions.c, generations.c, attempts.c, callbacks.c, events.c
_by_state: ColumnElement[str] = literal_column(BY_STATE, CleanText)
_GENERATIONS = select(*GENERATION)
_THESE = Query(GenerationRow, _GENERATIONS.where(_g.id.in_(IDS)))
_TRANSITIONS = select(*columns_of(transitions, _Transition, source="from"))
_HISTORIES = Query(_Transition, _TRANSITIONS.where(_t.generation_id.in_(IDS)).order_by(_t.id))
_MOVES = Query(
    _Transition,
    _TRANSITIONS.where(_t.id > bindparam("after"), _t.id <= bindparam("last")).order_by(_t.id).limit(LIMIT),
)
_ASSETS = Query(
    AssetRow,
    select(*ASSET).where(assets.c.generation_id.in_(IDS)).order_by(assets.c.generation_id, assets.c.index),
)
_GENERATION_ID = bindparam("generation_id", type_=CleanText())
_TRIED = Query(
    _AttemptRow,
    select(*columns_of(attempts, _AttemptRow)).where(_a.generation_id == _GENERATION_ID).order_by(_a.number),
)
_CAME = Query(
    _Came,
    select(_c.id, _c.attempt_id, _c.received_at, _c.verdict, _c.error, func.length(_c.body).label("size"))
    .where(_c.attempt_id.in_(IDS))
    .order_by(_c.id),
)
_HAPPENED = Query(
    _EventRow, select(*columns_of(events, _EventRow)).where(_e.generation_id == _GENERATION_ID).order_by(_e.id)
)
_PRUNED = Query(_Pruned, select(*columns_of(prunes, _Pruned)).where(prunes.c.kind.in_(["callbacks", "events"])))
_CHILDREN = Query(Child, select(*columns_of(generations, Child)).where(_g.parent_id == _GENERATION_ID).order_by(_g.id))
_CHARGES = Query(
    Charge,
    select(*columns_of(charges, Charge)).where(charges.c.generation_id == _GENERATION_ID).order_by(charges.c.number),
)


class Queries(Totals):
    def get(self, generation_ids: Sequence[str]) -> list[Generation]:
        """Return generations in the order of the ids. Raises NotFound."""
        with self._database.read() as connection:
            rows = _THESE.each(connection, generation_ids)
        found = {row.id: to_generation(row) for row in rows}
        for generation_id in generation_ids:
            if generation_id not in found:
                raise NotFound(f"there is no generation {generation_id}; `darkroom list` shows those that exist")
        return [found[generation_id] for generation_id in generation_ids]

    def page(
        self,
        *,
        state: State | None = None,
        batch: str | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        limit: int = 50,
        before: str | None = None,
    ) -> list[Generation]:
        """Return a page, newest first. `before`: continue after this id; `batch`: an id or name of finished batches."""
        with self._database.read() as connection:
            if batch is not None:
                return page_of_batches(connection, batch, state=state, limit=limit, before=before, labels=labels)
            if labels and (found := page_with_labels(connection, labels, state, limit, before)) is not None:
                return found
            query = _GENERATIONS.where(*has_labels(_g.id, len(labels))).limit(limit)
            if state is not None and not self._database.is_sqlite:
                # With `=` on the state, PostgreSQL would search the newest generations, among which none may match.
                query = query.where(_by_state >= state, _by_state <= state).order_by(_by_state.desc(), _g.id.desc())
                if before is not None:
                    query = query.where(tuple_(_by_state, _g.id) < tuple_(state, before))
            else:
                query = query.order_by(_g.id.desc())
                if state is not None:
                    query = query.where(_by_state == state)
                if before is not None:
                    query = query.where(_g.id < before)
            if hidden := unfinished(connection):
                query = query.where(_g.batch_id.is_(None) | _g.batch_id.not_in(hidden))
            return [to_generation(row) for row in Query(GenerationRow, query).all(connection, **named(labels))]

    def batch_ids(self, batch: str) -> Sequence[str]:
        """Return the ids of the batches with that id or name, newest first."""
        with self._database.read() as connection:
            return batches_of(connection, batch)

    def newest_batch(self, batch: str) -> str | None:
        """Return the id of the newest batch with that id or name."""
        return next(iter(self.batch_ids(batch)), None)

    def last_move(self, *, is_settled: bool) -> int | None:
        """Return the number of the last move in the ledger. `is_settled`: the last one up to which all are visible.

        None if a long write prevents that from being determined now.
        """
        if is_settled:
            return last_settled(self._database, transitions)
        with self._database.read() as connection:
            return int(connection.execute(select(func.max(_t.id))).scalar() or 0)

    def moves(
        self, batch_id: str | None, after: int, last: int, labels: Mapping[str, str] = NO_LABELS
    ) -> list[tuple[Move, Generation]]:
        """Return the moves in a batch, or with these labels, after move `after` and up to `last`, in order."""
        found: list[tuple[Move, Generation]] = []
        with self._database.read() as connection:
            while rows := _MOVES.all(connection, after=after, last=last, limit=_MOVES_PAGE):
                ids = sorted({row.generation_id for row in rows})
                moved = [to_generation(row) for row in _THESE.each(connection, ids)]
                if labels:
                    moved = with_labels(connection, moved, labels)
                known = {one.id: one for one in moved if batch_id in {None, one.batch_id}}
                found += [(_to_move(row), known[row.generation_id]) for row in rows if row.generation_id in known]
                after = rows[-1].id
        return found

    def last_moves(self, generation_ids: Sequence[str]) -> dict[str, Move]:
        """Return the last move of each generation."""
        with self._database.read() as connection:
            rows = _HISTORIES.each(connection, generation_ids)
        return {row.generation_id: _to_move(row) for row in rows}

    def lineages(self, generation_ids: Sequence[str]) -> dict[str, Lineage]:
        """Return the lineage of each generation, by id."""
        with self._database.read() as connection:
            return lineages_of(connection, generation_ids)

    def assets_of(self, generation_ids: Sequence[str]) -> dict[str, list[Asset]]:
        """Return the assets of each generation, by index."""
        with self._database.read() as connection:
            return assets_of(connection, generation_ids)

    def transitions_of(self, generation_ids: Sequence[str]) -> dict[str, list[Transition]]:
        """Return the history of each generation, oldest first."""
        with self._database.read() as connection:
            return transitions_of(connection, generation_ids)

    def story(self, generation_id: str) -> Story:
        """Return everything known about a generation. Raises NotFound."""
        (generation,) = self.get([generation_id])
        with self._database.read() as connection:
            tried = [
                Attempt(
                    id=row.id,
                    account=row.account,
                    number=row.number,
                    state=AttemptState(row.state),
                    task_id=row.task_id,
                    error=row.error,
                    sent_at=row.sent_at,
                    candidates=tuple(row.candidates or ()) if row.state in _UNKNOWN_TASK and not row.task_id else (),
                    callbacks_refused=row.callbacks_refused,
                )
                for row in _TRIED.all(connection, generation_id=generation_id)
            ]
            notes = [
                CallbackNote(
                    id=row.id,
                    attempt_id=row.attempt_id,
                    received_at=row.received_at,
                    verdict=Verdict(row.verdict) if row.verdict else None,
                    error=row.error,
                    bytes=row.size,
                    generation_id=generation_id,
                )
                for row in _CAME.all(connection, ids=[attempt.id for attempt in tried])
            ]
            told = [
                Event(public_id(row.id, row.at), row.at, row.type, row.payload)
                for row in _HAPPENED.all(connection, generation_id=generation_id)
            ]
            refused = undelivered_of(connection, generation_id)
            pruned = {kind: at for kind, at in pruned_before(connection).items() if generation.created_at < at}
            born = _CHILDREN.all(connection, generation_id=generation_id)
            children = [one._replace(state=State(one.state)) for one in born]
            paid = _CHARGES.all(connection, generation_id=generation_id)
            lineage = lineages_of(connection, [generation_id])[generation_id]
            total = spent_on_family(connection, generation_id)
            labels = labels_of(connection, [generation_id]).get(generation_id, {})
        return Story(
            generation=generation,
            lineage=lineage,
            labels=labels,
            spent_in_total=total,
            children=tuple(children),
            charges=tuple(paid),
            assets=tuple(self.assets_of([generation_id])[generation_id]),
            transitions=tuple(self.transitions_of([generation_id])[generation_id]),
            attempts=tuple(tried),
            callbacks=tuple(notes),
            events=tuple(told),
            undelivered=tuple(refused),
            pruned_before=pruned,
        )


def assets_of(connection: Connection, generation_ids: Sequence[str]) -> dict[str, list[Asset]]:
    found: dict[str, list[Asset]] = {generation_id: [] for generation_id in generation_ids}
    for row in _ASSETS.each(connection, generation_ids):
        found[row.generation_id].append(to_asset(row))
    return found


def transitions_of(connection: Connection, generation_ids: Sequence[str]) -> dict[str, list[Transition]]:
    found: dict[str, list[Transition]] = {generation_id: [] for generation_id in generation_ids}
    for row in _HISTORIES.each(connection, generation_ids):
        found[row.generation_id].append(_to_move(row).transition)
    return found


def pruned_before(connection: Connection) -> dict[str, datetime]:
    """Return the times before which callbacks and events were deleted."""
    return {row.kind: row.before for row in _PRUNED.all(connection)}


def _to_move(row: _Transition) -> Move:
    source = State(row.source) if row.source else None
    return Move(row.id, Transition(source, State(row.to), row.at, row.cause))
