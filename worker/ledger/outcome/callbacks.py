"""Stores callbacks as received; they are parsed later."""

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Integer, bindparam, case, delete, func, insert, select, text, update

from worker.errors import NotFound
from worker.generation import ENDED_ATTEMPTS, State, Verdict
from worker.ledger.database import Part
from worker.ledger.outcome.verdicts import VERDICTS
from worker.ledger.schema import (
    SET_ASIDE,
    UNAPPLIED,
    CleanText,
    Tally,
    UtcDateTime,
    attempts,
    callbacks,
    generations,
    in_states,
)
from worker.ledger.statements import IDS, LIMIT, NOW, Query, columns_of
from worker.ledger.tallies import TallyKey, tally

#: a callback whose reader fails this many times is set aside for a person
MAX_TRIES = 5
#: the most distinct bodies kept for one attempt; if another arrives, the provider is polled for the attempt's outcome
MOST_BODIES = 50
#: how long after an attempt has ended its callbacks are still stored; providers repeat them for hours at most
LATEST = timedelta(hours=48)
#: an attempt is polled within this time if a refused callback may have held its outcome
_ASKED_WITHIN = timedelta(minutes=1)
#: the trial's attempt id and body size in bytes; the largest body in a provider's documentation has 6,000
_TRIAL, _TRIAL_BYTES = "trial", 16_384


# One statement for all rows, sent by the driver directly: sent one by one, each row releases the interpreter lock, and
# a busy receiver waits to get it back while it holds the write lock. The limit keeps anyone with a callback URL from
# filling the disk. `before`: earlier bodies of the attempt among these rows.
_INSERT = (
    "INSERT INTO callbacks (attempt_id, provider, received_at, remote_address, headers, body, digest) "
    "WITH came (attempt_id, provider, received_at, remote_address, headers, body, digest, before) AS (VALUES {rows}) "
    "SELECT attempt_id, provider, received_at, remote_address, headers, body, digest FROM came "
    "WHERE before + (SELECT count(*) FROM (SELECT 1 FROM callbacks AS kept WHERE kept.attempt_id = came.attempt_id "
    "LIMIT {most}) AS few) < {most} "
    "AND NOT EXISTS (SELECT 1 FROM attempts AS ended WHERE ended.id = came.attempt_id AND ended.settled_at < {end} "
    "AND {ended}) ON CONFLICT DO NOTHING"
)
_ENDED = in_states("ended.state", ENDED_ATTEMPTS)
# PostgreSQL assumes text where it cannot infer a type.
_ROW = "(%s,%s,%s::timestamptz,%s,%s,%s::bytea,%s,%s::integer)"
_SQLITE_ROW = "(?,?,?,?,?,?,?,?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One authenticated HTTP delivery. `digest`: sha256 of the body, hex."""

    attempt_id: str
    provider: str
    received_at: datetime
    remote_address: str | None
    headers: Mapping[str, str]
    body: bytes
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCallback:
    id: int
    attempt_id: str
    provider: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes
    #: how often it was claimed before, without success
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackNote:
    id: int
    attempt_id: str
    received_at: datetime
    verdict: Verdict | None
    error: str | None
    bytes: int
    generation_id: str | None


class _Came(NamedTuple):
    id: int
    attempt_id: str
    provider: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes
    tries: int


class _Waiting(NamedTuple):
    id: int
    attempt_id: str
    provider: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes
    tries: int
    error: str | None


class _Note(NamedTuple):
    id: int
    attempt_id: str
    received_at: datetime
    verdict: str | None
    error: str | None
    bytes: int
    generation_id: str | None


class _Known(NamedTuple):
    attempt_id: str
    digest: str


_c = callbacks.c
_WAIT_FOR_OUTCOME = (State.SUBMITTING, State.SUBMITTED, State.UNCONFIRMED)
#: callbacks set aside, newest first
_SET_ASIDE_NOTES = (
    select(
        *(_c.id, _c.attempt_id, _c.received_at, _c.verdict, _c.error, func.length(_c.body).label("bytes")),
        attempts.c.generation_id,
    )
    .join_from(callbacks, attempts, attempts.c.id == _c.attempt_id, isouter=True)
    .where(text(SET_ASIDE))
    .order_by(_c.id.desc())
)
_ONE_NOTE = Query(
    _Note,
    select(
        *(_c.id, _c.attempt_id, _c.received_at, _c.verdict, _c.error, func.length(_c.body).label("bytes")),
        attempts.c.generation_id,
    )
    .join_from(callbacks, attempts, attempts.c.id == _c.attempt_id, isouter=True)
    .where(_c.id == bindparam("of", type_=Integer)),
)
_CAME = Query(_Came, select(*columns_of(callbacks, _Came)).where(_c.id == bindparam("of", type_=Integer)))
_OLDEST = Query(
    _Waiting,
    select(*columns_of(callbacks, _Waiting))
    .where(text(UNAPPLIED), _c.not_before.is_(None) | (_c.not_before <= NOW))
    .order_by(_c.id)
    .limit(LIMIT)
    .with_for_update(skip_locked=True),
)
_TAKE = update(callbacks).where(_c.id.in_(IDS)).values(not_before=bindparam("until"), tries=_c.tries + 1)

_RENEW = update(callbacks).where(_c.id.in_(IDS), text(UNAPPLIED)).values(not_before=bindparam("until"))
_GIVEN_UP = f"not applied after {MAX_TRIES} tries" + func.coalesce(": " + _c.error, "")
_BROKE = update(callbacks).where(_c.id == bindparam("of"), text(UNAPPLIED)).values(error=bindparam("why"))
_KNOWN = Query(_Known, select(_c.attempt_id, _c.digest).where(_c.attempt_id.in_(IDS)))
_t = attempts.c
_REFUSED = (
    update(attempts)
    .where(_t.id == bindparam("of", type_=CleanText()))
    .values(
        callbacks_refused=_t.callbacks_refused + bindparam("more", type_=Integer),
        poll_at=case((_t.poll_at > bindparam("soon", type_=UtcDateTime()), bindparam("soon")), else_=_t.poll_at),
    )
)
_POSTPONE = update(callbacks).where(_c.id.in_(IDS)).values(not_before=bindparam("until"), tries=_c.tries - 1)


class Callbacks(Part):
    def store(self, deliveries: Sequence[Delivery]) -> int:
        """Store deliveries durably; a repeated body of the same attempt is stored once.

        An attempt keeps at most `MOST_BODIES`, and none that arrive later than `LATEST` after its end. Return how many
        were refused for these reasons; they are counted on their attempt and need not be sent again.
        """
        if not deliveries:
            return 0
        row = _SQLITE_ROW if self._database.is_sqlite else _ROW
        values: list[object] = []
        seen: Counter[str] = Counter()
        for delivery in deliveries:
            values += (
                delivery.attempt_id,
                delivery.provider,
                self._time(delivery.received_at),
                delivery.remote_address,
                json.dumps(dict(delivery.headers), separators=(",", ":")),
                delivery.body,
                delivery.digest,
                seen[delivery.attempt_id],
            )
            seen[delivery.attempt_id] += 1
        rows = ",".join([row] * len(deliveries))
        end = "?" if self._database.is_sqlite else "%s"
        statement = _INSERT.format(rows=rows, most=MOST_BODIES, end=end, ended=_ENDED)
        values.append(self._time(self._database.clock() - LATEST))
        with self._database.write(alone=True, under_way=True) as connection:
            kept = connection.exec_driver_sql(statement, tuple(values)).rowcount
        return self._count_refused(deliveries) if kept < len(deliveries) else 0

    def try_store(self) -> None:
        """Store and delete a row of a callback's size; raises as `store` does.

        In two transactions, because a full disk shows only at commit. Also deletes leftovers of earlier trials.
        """
        drop = delete(callbacks).where(_c.attempt_id == _TRIAL)
        now, digest = self._database.clock(), secrets.token_hex(32)
        trial = {"attempt_id": _TRIAL, "provider": "", "headers": {}, "digest": digest, "verdict": Verdict.IGNORED}
        with self._database.write(under_way=True) as connection:
            connection.execute(drop)
            body = os.urandom(_TRIAL_BYTES)
            connection.execute(insert(callbacks).values(**trial, received_at=now, applied_at=now, body=body))
        with self._database.write(under_way=True) as connection:
            connection.execute(drop)

    def _count_refused(self, deliveries: Sequence[Delivery]) -> int:
        """Count refused deliveries on their attempts; most of those not stored just now are only duplicates."""
        with self._database.read() as connection:
            rows = _KNOWN.each(connection, list({one.attempt_id for one in deliveries}))
        lost = {(one.attempt_id, one.digest) for one in deliveries} - {(row.attempt_id, row.digest) for row in rows}
        if lost:
            soon = self._database.clock() + _ASKED_WITHIN
            for one, number in Counter(attempt_id for attempt_id, _ in lost).items():
                # One at a time: together they could deadlock with transactions that settle the same attempts.
                with self._database.write(alone=True, under_way=True) as connection:
                    connection.execute(_REFUSED, {"of": one, "more": number, "soon": soon})
        return len(lost)

    def _time(self, moment: datetime) -> object:
        """The value that the driver accepts."""
        utc = moment.astimezone(UTC)
        return utc.strftime("%Y-%m-%d %H:%M:%S.%f") if self._database.is_sqlite else utc

    def claim(self, limit: int, lease: timedelta) -> list[StoredCallback]:
        """Claim unapplied callbacks, oldest first; they are due again if they are not applied within `lease`."""
        now = self._database.clock()
        with self._database.write() as connection:
            rows = _OLDEST.all(connection, now=now, limit=limit)
            poison = [row for row in rows if row.tries >= MAX_TRIES]
            if poison:
                given_up = VERDICTS.update_to(Verdict.POISON).where(_c.id.in_([row.id for row in poison]))
                connection.execute(given_up.values(applied_at=now, error=_GIVEN_UP))
            taken = [row for row in rows if row.tries < MAX_TRIES]
            # A callback that was tried before is claimed alone: if it crashes its reader, no other is affected.
            taken = taken[:1] if taken and taken[0].tries else [row for row in taken if row.tries == 0]
            if taken:
                connection.execute(_TAKE, {"ids": [row.id for row in taken], "until": now + lease})
            tally(connection, Counter(TallyKey(Tally.CALLBACKS, row.provider, Verdict.POISON) for row in poison))
            # Left behind by a dead process: a reader that merely failed has recorded its error.
            left = sum(1 for row in taken if row.tries and row.error is None)
            tally(connection, {TallyKey(Tally.RECOVERIES, "", "callback"): left})
        return [
            StoredCallback(
                id=row.id,
                attempt_id=row.attempt_id,
                provider=row.provider,
                received_at=row.received_at,
                headers=row.headers,
                body=row.body,
                tries=row.tries,
            )
            for row in taken
        ]

    def renew(self, callback_ids: Sequence[int], lease: timedelta) -> None:
        """Renew claimed callbacks for another `lease`."""
        with self._database.write(under_way=True) as connection:
            connection.execute(_RENEW, {"ids": list(callback_ids), "until": self._database.clock() + lease})

    def earlier_headers(self, callback: StoredCallback) -> list[Mapping[str, str]]:
        """Return the headers of earlier callbacks of the same attempt."""
        before = select(_c.headers).where(_c.attempt_id == callback.attempt_id, _c.id < callback.id)
        with self._database.read() as connection:
            return list(connection.execute(before).scalars())

    def postpone(self, callback_ids: Sequence[int], wait: timedelta) -> None:
        """Release claimed callbacks without counting a try; they are due again once `wait` has passed."""
        if callback_ids:
            later = {"ids": list(callback_ids), "until": self._database.clock() + wait}
            with self._database.write(under_way=True) as connection:
                connection.execute(_POSTPONE, later)

    def record_failures(self, errors: Mapping[int, str]) -> None:
        """Record why claimed callbacks could not be applied; the try counts, and each is due again after its lease."""
        with self._database.write(under_way=True) as connection:
            connection.execute(_BROKE, [{"of": one, "why": why} for one, why in sorted(errors.items())])

    def replay(self, callback_ids: Iterable[int] | None = None) -> int:
        """Replay these callbacks, or all dead ones; return how many."""
        chosen = text(SET_ASIDE) if callback_ids is None else _c.id.in_(list(callback_ids))
        again = VERDICTS.update_to(None).where(chosen)
        with self._database.write() as connection:
            return connection.execute(again.values(applied_at=None, error=None, tries=0, not_before=None)).rowcount

    def unread(self, limit: int = 1000) -> list[CallbackNote]:
        """Return the last unreadable callback of each generation that waits for its outcome."""
        query = (
            _SET_ASIDE_NOTES.join(generations, generations.c.id == attempts.c.generation_id)
            .where(_c.verdict.in_([Verdict.UNREADABLE, Verdict.POISON]), generations.c.state.in_(_WAIT_FOR_OUTCOME))
            .limit(limit)
        )
        with self._database.read() as connection:
            notes = [_note(row) for row in Query(_Note, query).all(connection)]
        return list({note.generation_id: note for note in reversed(notes)}.values())

    def get(self, callback_id: int) -> tuple[StoredCallback, CallbackNote]:
        """Return a callback as received, and what became of it. Raises NotFound."""
        with self._database.read() as connection:
            came = _CAME.first(connection, of=callback_id)
            note = _ONE_NOTE.first(connection, of=callback_id)
        if came is None or note is None:
            raise NotFound(f"there is no callback {callback_id}: it may have been pruned")
        return StoredCallback(**came._asdict()), _note(note)

    def dead(self, limit: int = 50) -> list[CallbackNote]:
        """Return dead callbacks: unreadable, of another task, or of an unknown attempt."""
        with self._database.read() as connection:
            return [_note(row) for row in Query(_Note, _SET_ASIDE_NOTES.limit(limit)).all(connection)]


def _note(row: _Note) -> CallbackNote:
    return CallbackNote(
        id=row.id,
        attempt_id=row.attempt_id,
        received_at=row.received_at,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        error=row.error,
        bytes=row.bytes,
        generation_id=row.generation_id,
    )
