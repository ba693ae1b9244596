"""Read-only queries for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, select, tuple_

from worker.errors import NotFound
from worker.generation import Asset, AttemptState, Generation, State, Transition, Verdict
from worker.ledger.database import Part
from worker.ledger.events import Undelivered, last_settled, undelivered_of
from worker.ledger.flows import unfinished
from worker.ledger.generations.batch_pages import batches_of, page_of_batches
from worker.ledger.generations.counting import counts
from worker.ledger.outcome import CallbackNote
from worker.ledger.rows import to_asset, to_generation
from worker.ledger.schema import (
    BY_STATE,
    CleanText,
    assets,
    attempts,
    callbacks,
    events,
    generations,
    prunes,
    transitions,
)
from worker.ledger.statements import IDS, LIMIT, select_in


@dataclass(frozen=True, slots=True)
class Attempt:
    id: str
    account: str
    number: int
    state: AttemptState
    task_id: str | None
    error: str | None
    sent_at: datetime
    #: while its own task is not known: tasks in the provider's list, one of which may be it
    candidates: tuple[str, ...] = ()
    #: callbacks that came for it and were not kept
    callbacks_refused: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    at: datetime
    type: str
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Move:
    """A change of state. `number`: its position among all changes in the ledger."""

    number: int
    transition: Transition


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is known about one generation."""

    generation: Generation
    children: tuple[str, ...]
    assets: tuple[Asset, ...]
    transitions: tuple[Transition, ...]
    attempts: tuple[Attempt, ...]
    callbacks: tuple[CallbackNote, ...]
    events: tuple[Event, ...]
    undelivered: tuple[Undelivered, ...]
    #: of which of these (callbacks, events) some may have been deleted, because they are from before that time
    pruned_before: Mapping[str, datetime]


#: attempts whose task a person may find
_UNKNOWN_TASK = (AttemptState.UNCERTAIN, AttemptState.ABANDONED)
#: moves that one statement reads
_MOVES_PAGE = 1000
_t, _g = transitions.c, generations.c
_by_state: ColumnElement[str] = literal_column(BY_STATE, CleanText)
_THESE = select(generations).where(_g.id.in_(IDS))
_HISTORIES = select(transitions).where(_t.generation_id.in_(IDS)).order_by(_t.id)
_MOVES = (
    select(transitions)
    .where(_t.id > bindparam("after"), _t.id <= bindparam("last"))
    .order_by(_t.id)
    .limit(LIMIT)
)  # fmt: skip
_PRUNED = select(prunes).where(prunes.c.kind.in_(["callbacks", "events"]))


class Queries(Part):
    def get(self, generation_ids: Sequence[str]) -> list[Generation]:
        """Return generations in the order of the ids; raises NotFound."""
        with self._database.read() as connection:
            rows = select_in(connection, _THESE, generation_ids)
        found = {row.id: to_generation(row) for row in rows}
        for generation_id in generation_ids:
            if generation_id not in found:
                raise NotFound(f"there is no generation {generation_id}; `darkroom list` shows those that exist")
        return [found[generation_id] for generation_id in generation_ids]

    def page(
        self, *, state: State | None = None, batch: str | None = None, limit: int = 50, before: str | None = None
    ) -> list[Generation]:
        """Return a page, newest first; `before`: continue after this id. `batch`: an id or a name, if finished."""
        with self._database.read() as connection:
            if batch is not None:
                return page_of_batches(connection, batch, state, limit, before)
            query = select(generations).limit(limit)
            if state is not None and not self._database.is_sqlite:
                # Told in which state all are, PostgreSQL would look for them among the newest, where none may be.
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
            return [to_generation(row) for row in connection.execute(query)]

    def newest_batch(self, batch: str) -> str | None:
        """Return the id of the newest batch with that id or name."""
        with self._database.read() as connection:
            return next(iter(batches_of(connection, batch)), None)

    def last_move(self, *, is_settled: bool) -> int | None:
        """Return the number of the last move in the ledger; `is_settled`: of the last one up to which all are visible.

        None if a long write prevents that from being determined now.
        """
        if is_settled:
            return last_settled(self._database, transitions)
        with self._database.read() as connection:
            return int(connection.execute(select(func.max(_t.id))).scalar() or 0)

    def moves(self, batch_id: str, after: int, last: int) -> list[tuple[Move, Generation]]:
        """Return the moves in a batch after the move `after`, up to `last`, in order."""
        found: list[tuple[Move, Generation]] = []
        with self._database.read() as connection:
            while rows := connection.execute(_MOVES, {"after": after, "last": last, "limit": _MOVES_PAGE}).all():
                ids = sorted({row.generation_id for row in rows})
                moved = {
                    row.id: to_generation(row) for row in select_in(connection, _THESE, ids) if row.batch_id == batch_id
                }
                found += [(_to_move(row), moved[row.generation_id]) for row in rows if row.generation_id in moved]
                after = rows[-1].id
        return found

    def last_moves(self, generation_ids: Sequence[str]) -> dict[str, Move]:
        """Return the last move of each generation."""
        with self._database.read() as connection:
            rows = select_in(connection, _HISTORIES, generation_ids)
        return {row.generation_id: _to_move(row) for row in rows}

    def assets_of(self, generation_ids: Sequence[str]) -> dict[str, list[Asset]]:
        """Return the assets of each generation, by index."""
        query = select(assets).order_by(assets.c.generation_id, assets.c.index)
        with self._database.read() as connection:
            rows = select_in(connection, query.where(assets.c.generation_id.in_(IDS)), generation_ids)
        found: dict[str, list[Asset]] = {generation_id: [] for generation_id in generation_ids}
        for row in rows:
            found[row.generation_id].append(to_asset(row))
        return found

    def transitions_of(self, generation_ids: Sequence[str]) -> dict[str, list[Transition]]:
        """Return the history of each generation, oldest first."""
        with self._database.read() as connection:
            rows = select_in(connection, _HISTORIES, generation_ids)
        found: dict[str, list[Transition]] = {generation_id: [] for generation_id in generation_ids}
        for row in rows:
            found[row.generation_id].append(_to_move(row).transition)
        return found

    def story(self, generation_id: str) -> Story:
        """Raises NotFound."""
        (generation,) = self.get([generation_id])
        of_attempts = select(attempts).where(attempts.c.generation_id == generation_id).order_by(attempts.c.number)
        c = callbacks.c
        with self._database.read() as connection:
            tried = [
                Attempt(
                    row.id,
                    row.account,
                    row.number,
                    AttemptState(row.state),
                    row.task_id,
                    row.error,
                    row.sent_at,
                    tuple(row.candidates or ()) if row.state in _UNKNOWN_TASK and not row.task_id else (),
                    row.callbacks_refused,
                )
                for row in connection.execute(of_attempts)
            ]
            came = connection.execute(
                select(c.id, c.attempt_id, c.received_at, c.verdict, c.error, func.length(c.body).label("size"))
                .where(c.attempt_id.in_([attempt.id for attempt in tried]))
                .order_by(c.id)
            )
            notes = [
                CallbackNote(
                    row.id,
                    row.attempt_id,
                    row.received_at,
                    row.verdict and Verdict(row.verdict),
                    row.error,
                    row.size,
                    generation_id,
                )
                for row in came
            ]
            happened = connection.execute(
                select(events).where(events.c.generation_id == generation_id).order_by(events.c.id)
            )
            told = [Event(row.at, row.type, row.payload) for row in happened]
            refused = undelivered_of(connection, generation_id)
            born = select(generations.c.id).where(generations.c.parent_id == generation_id)
            pruned = {kind: at for kind, at in pruned_before(connection).items() if generation.created_at < at}
            children = connection.execute(born.order_by(generations.c.id)).scalars().all()
        return Story(
            generation,
            tuple(children),
            tuple(self.assets_of([generation_id])[generation_id]),
            tuple(self.transitions_of([generation_id])[generation_id]),
            tuple(tried),
            tuple(notes),
            tuple(told),
            tuple(refused),
            pruned,
        )

    def counts(self, batch_id: str | None = None) -> dict[State, int]:
        """Count generations per state, in total or for one batch, without reading them."""
        with self._database.read() as connection:
            return counts(connection, batch_id)


def pruned_before(connection: Connection) -> dict[str, datetime]:
    """The times up to which callbacks and events were deleted."""
    return {row.kind: row.before for row in connection.execute(_PRUNED)}


def _to_move(row: Any) -> Move:
    source = State(row._mapping["from"]) if row._mapping["from"] else None  # noqa: SLF001  SQLAlchemy's API
    return Move(row.id, Transition(source, State(row.to), row.at, row.cause))
