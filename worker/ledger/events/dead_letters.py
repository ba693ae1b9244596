"""Dead letters, which a person may replay or dismiss (for callbacks, see `outcome`)."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Update, bindparam, func, select, text, update

from worker.errors import NotFound
from worker.generation import Verdict
from worker.ledger.changes import Changes, Person
from worker.ledger.database import Part
from worker.ledger.events.addresses import has_where_to_go
from worker.ledger.events.public_ids import public_id
from worker.ledger.events.states import DELIVERIES, anew
from worker.ledger.outcome import VERDICTS
from worker.ledger.schema import (
    FOLLOW_UP_REFUSED,
    SET_ASIDE,
    UNDELIVERABLE,
    CleanText,
    DeliveryState,
    callbacks,
    deliveries,
    events,
    generations,
    in_states,
    subscribers,
)
from worker.ledger.statements import IDS, LIMIT, Query, update_row

_CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """An event that a subscriber accepted in none of its tries. `state`: dead or dismissed."""

    event_id: int
    subscriber: str
    type: str
    generation_id: str | None
    at: datetime
    tries: int
    error: str | None
    state: DeliveryState

    @property
    def public_id(self) -> str:
        return public_id(self.event_id, self.at)

    @property
    def is_dismissed(self) -> bool:
        return self.state is DeliveryState.DISMISSED


class _Given(NamedTuple):
    event_id: int
    subscriber: str
    type: str
    generation_id: str | None
    at: datetime
    tries: int
    error: str | None
    state: str


class _CallbackId(NamedTuple):
    id: int


class _EventId(NamedTuple):
    event_id: int


_d, _e, _g = deliveries.c, events.c, generations.c
_c = callbacks.c
_FACTS = (_d.event_id, _d.subscriber, _e.type, _e.generation_id, _e.at, _d.tries, _d.error, _d.state)
_OF_GENERATION = Query(
    _Given,
    select(*_FACTS)
    .join_from(deliveries, events, _e.id == _d.event_id)
    .where(_d.event_id.in_(IDS), _d.state.in_([DeliveryState.DEAD, DeliveryState.DISMISSED]))
    .order_by(_e.id, _d.subscriber),
)
_DEAD = Query(
    _Given,
    select(*_FACTS)
    .join_from(deliveries, events, _e.id == _d.event_id)
    .where(text(UNDELIVERABLE))
    .order_by(_d.subscriber, _d.event_id.desc())
    .limit(LIMIT),
)
_SET_ASIDE = Query(_CallbackId, select(_c.id).where(text(SET_ASIDE), _c.id.in_(IDS)).order_by(_c.id).with_for_update())
_OF_SUBSCRIBER = (_d.subscriber == bindparam("whose", type_=CleanText()), _d.event_id.in_(IDS))
#: dead or dismissed, but not delivered
_ABANDONED = text(in_states("state", [DeliveryState.DEAD, DeliveryState.DISMISSED]))
_REPLAY = DELIVERIES.update_to(DeliveryState.WAITING).where(
    _d.subscriber == bindparam("whose", type_=CleanText()), _d.event_id == bindparam("event"), _ABANDONED
)
_UNDELIVERABLE = Query(
    _EventId,
    select(_d.event_id).where(*_OF_SUBSCRIBER, text(UNDELIVERABLE)).order_by(_d.event_id).with_for_update(),
)


class DeadLetters(Part):
    def dead(self, limit: int) -> list[Undelivered]:
        """Return dead events by subscriber, newest first."""
        with self._database.read() as connection:
            return [_undelivered(row) for row in _DEAD.all(connection, limit=limit)]

    def replay(self, event_id: int, subscriber: str) -> bool:
        """Deliver an event again, from the first try; return False if it is not dead or its address was ended."""
        now = self._database.clock()
        with self._database.write() as connection:
            if not has_where_to_go(connection, event_id, subscriber):
                return False
            again = _REPLAY.values(anew(now))
            if not connection.execute(again, {"whose": subscriber, "event": event_id}).rowcount:
                return False
            # A person who replays has fixed something, so do not wait for a pause to end.
            update_row(connection, subscribers, {"name": subscriber}, failures=0, not_before=None)
        return True

    def dismiss(
        self,
        callback_ids: Sequence[int],
        undelivered: Sequence[tuple[int, str]],
        person: Person,
        follow_ups_of: Sequence[str] = (),
    ) -> None:
        """Dismiss callbacks, events (each with its subscriber) and follow-ups: all of them, or none.

        The person and the reason are appended to the error. Dismissed ones are kept as long as applied ones. Raises
        NotFound for an unknown one.
        """
        by_subscriber: defaultdict[str, list[int]] = defaultdict(list)
        for event_id, subscriber in undelivered:
            by_subscriber[subscriber].append(event_id)
        said = f"(dismissed by {person.name}{f': {person.why}' if person.why else ''})"
        with self._database.write() as connection:
            now = self._database.clock()
            changes = Changes(connection, now)
            for generation_id in sorted(follow_ups_of):
                known = [generation_id] if dismiss_refused(changes, generation_id, person) else []
                _require([generation_id], known, "follow-up of")
            changes.flush()
            _require(callback_ids, {row.id for row in _SET_ASIDE.each(connection, callback_ids)}, "callback")
            values = {"applied_at": now, "error": _and_said(_c.error)}
            change = VERDICTS.update_to(Verdict.DISMISSED).where(_c.id.in_(IDS)).values(values)
            _in_chunks(connection, change, callback_ids, said)
            for subscriber, ids in sorted(by_subscriber.items()):
                found = {row.event_id for row in _UNDELIVERABLE.each(connection, ids, whose=subscriber)}
                _require(ids, found, "event", f" for {subscriber}")
                these = (_d.subscriber == subscriber, _d.event_id.in_(IDS))
                values = {"delivered_at": now, "error": _and_said(_d.error)}
                change = DELIVERIES.update_to(DeliveryState.DISMISSED).where(*these).values(values)
                _in_chunks(connection, change, ids, said)


def dismiss_refused(changes: Changes, generation_id: str, person: Person) -> bool:
    """Dismiss the refused follow-up of a generation; return False if there is none.

    The person and the reason are recorded in the generation's history.
    """
    mine = update(generations).where(_g.id == generation_id, text(FOLLOW_UP_REFUSED))
    if changes.connection.execute(mine.values(follow_up_error=None)).rowcount != 1:
        return False
    changes.event("follow_up.dismissed", generation_id=generation_id, by=person.name, why=person.why)
    return True


def undelivered_of(connection: Connection, generation_id: str) -> list[Undelivered]:
    """Return the dead and dismissed events of a generation."""
    ids = connection.execute(select(_e.id).where(_e.generation_id == generation_id)).scalars().all()
    return [_undelivered(row) for row in _OF_GENERATION.each(connection, ids)]


def _undelivered(row: _Given) -> Undelivered:
    return Undelivered(
        event_id=row.event_id,
        subscriber=row.subscriber,
        type=row.type,
        generation_id=row.generation_id,
        at=row.at,
        tries=row.tries,
        error=row.error,
        state=DeliveryState(row.state),
    )


def _require(wanted: Sequence[int] | Sequence[str], known: Collection[int | str], kind: str, whose: str = "") -> None:
    missing = next((one for one in wanted if one not in known), None)
    if missing is not None:
        raise NotFound(f"there is no dead {kind} {missing}{whose}; see `darkroom dead`; nothing was changed")


def _and_said(error: ColumnElement[str]) -> ColumnElement[str]:
    """Append the parameter `said` to an error."""
    # With a space, because the error may end with a link.
    return func.coalesce(error + " ", "") + bindparam("said", type_=CleanText())


def _in_chunks(connection: Connection, statement: Update, ids: Sequence[int], said: str) -> None:
    for start in range(0, len(ids), _CHUNK):
        connection.execute(statement, {"ids": ids[start : start + _CHUNK], "said": said})
