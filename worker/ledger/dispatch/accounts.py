"""Applies a provider's replies to the account: pause, reduced rate, circuit breaker."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol, Unpack

from sqlalchemy import Connection, bindparam, select, text

from worker.errors import AccountBlocked, CallbackUnreadable, NotTaken, ProviderError, Uncertain
from worker.generation import Accepted, Outcome, iso
from worker.ledger.changes import Changes
from worker.ledger.dispatch.pacing import (
    FAILURES,
    SMALLEST,
    Account,
    Limits,
    NewPace,
    burst,
    factor_of,
    open_for,
    put_right,
)
from worker.ledger.schema import DISPATCHED, CleanText, accounts, generations
from worker.ledger.statements import IDS, Query, columns_of, insert_ignoring, update_row

#: a blocked account is retried automatically after this time; a refused submission costs nothing
BLOCKED_FOR = timedelta(minutes=15)
#: a different key ends no pause that began less than this long ago
_LEAST_PAUSE = timedelta(minutes=1)
#: codes that mean that nothing was sent, which reveals nothing about the provider
_UNSENT = {"not_sent", "not_configured"}
#: codes of providers that do not report "too many requests" as an HTTP status
_TOO_MANY = {"429", "too_many_requests", "rate_limited"}

_a, _g = accounts.c, generations.c
_PROVIDER = bindparam("provider", type_=CleanText())
_OF_PROVIDER = (
    select(*columns_of(accounts, Account)).where(_a.provider == _PROVIDER, _a.account.in_(IDS)).order_by(_a.account)
)
_THESE = Query(Account, _OF_PROVIDER)
_LOCKED = Query(Account, _OF_PROVIDER.with_for_update())
_WAIT_FOR_WORKER = (
    select(_g.id)
    .where(_g.provider == _PROVIDER, _g.account == bindparam("to", type_=CleanText()), text(DISPATCHED))
    .with_for_update(skip_locked=True)
)
#: the values of a closed breaker
CLOSED: NewPace = {"failures": 0, "openings": 0, "open_until": None, "opened_at": None, "probe": None}
NOT_PAUSED: NewPace = {"paused_until": None, "pause_reason": None, "paused_at": None, "paused_key": None}
FULL_RATE: NewPace = {"factor": 1.0, "shrunk_at": None}
#: how a submission ended; an outcome in the reply may be unusable
Reply = Accepted | Outcome | CallbackUnreadable | ProviderError


class Asked(Protocol):
    """An attempt whose submission was answered."""

    @property
    def generation_id(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def number(self) -> int: ...


class Answer(Enum):
    CLEAR = auto()
    TOO_MANY = auto()
    BLOCKED = auto()
    FAILURE = auto()
    NOTHING = auto()


def answer_of(reply: Reply) -> Answer:
    """Return what the end of a submission reveals about the account and its provider, whatever its outcome."""
    match reply:
        case AccountBlocked():
            return Answer.BLOCKED
        case NotTaken(code=code, status=status):
            if status == 429 or code in _TOO_MANY:
                return Answer.TOO_MANY
            if code in _UNSENT:
                return Answer.NOTHING
            # "The queue is full" is a clear answer. No answer at all, or one from a gateway, is a failure.
            return Answer.FAILURE if status is None or status >= 500 else Answer.CLEAR
        case Uncertain():
            return Answer.FAILURE
        case Accepted() | Outcome() | CallbackUnreadable() | ProviderError():
            return Answer.CLEAR


LONGEST_BACKOFF = timedelta(seconds=30)


def backoff(tries: int) -> timedelta:
    """Return 1, 2, 4, 8, 16, then 30 seconds after the n-th try.

    The account's rate limit protects a failing provider; longer waits would only delay work after its recovery.
    """
    # The exponent is bounded: after days of tries, the power would overflow.
    return min(timedelta(seconds=2 ** min(max(tries - 1, 0), 9)), LONGEST_BACKOFF)


def locked_accounts(
    connection: Connection, provider: str, names: Mapping[str, str | None], limits: Limits, now: datetime
) -> Sequence[Account]:
    """Return the accounts' rows, locked by one statement; create missing ones.

    `names`: each account with its `key_mark`, None if unknown; a new key ends the pause of the old one.
    """
    ids = list(names)
    rows = _LOCKED.all(connection, provider=provider, ids=ids)
    if len(rows) < len(set(names)):
        full = {"provider": provider, "tokens": burst(limits), "refilled_at": now, **FULL_RATE, **CLOSED}
        missing = sorted(set(names) - {row.account for row in rows})
        connection.execute(insert_ignoring(connection, accounts), [full | {"account": name} for name in missing])
        rows = _LOCKED.all(connection, provider=provider, ids=ids)
    wrong = {
        row.account: values
        for row in rows
        if (values := put_right(row, now) | (NOT_PAUSED if is_lifted(row, names[row.account], now) else {}))
    }
    for account, values in wrong.items():
        update_row(connection, accounts, {"provider": provider, "account": account}, **values)
    if not wrong:
        return rows
    changes = Changes(connection, now)
    for row in rows:
        if is_paused(row, now) and is_lifted(row, names[row.account], now):
            changes.event("provider.resumed", provider=provider, account=row.account, reason="another_key")
    changes.flush()
    return _LOCKED.all(connection, provider=provider, ids=ids)


def is_paused(row: Account, now: datetime) -> bool:
    return row.paused_until is not None and row.paused_until > now


def is_stopped(row: Account, now: datetime) -> bool:
    """Return whether the account is paused or its circuit is open."""
    return is_paused(row, now) or row.open_until is not None


def is_lifted(row: Account, mark: str | None, now: datetime) -> bool:
    """Return whether a new key has ended the account's pause. `mark`: of the current key, None if unknown."""
    has_other_key = row.paused_key is not None and mark is not None and row.paused_key != mark
    # Otherwise, machines with the old and the new key would pause and resume it alternately, at full speed.
    is_new = row.paused_at is not None and row.paused_at > now - _LEAST_PAUSE
    return has_other_key and not is_new


def note_answers(changes: Changes, answers: Sequence[tuple[Asked, Reply]]) -> None:
    """Adjust the limits of the accounts that gave these replies: (row of the attempt, how its submission ended)."""
    by_provider: defaultdict[str, defaultdict[str, list[tuple[Asked, Reply]]]]
    by_provider = defaultdict(lambda: defaultdict(list))
    for attempt, result in answers:
        by_provider[attempt.provider][attempt.account].append((attempt, result))
    for provider, those in sorted(by_provider.items()):
        found = _THESE.all(changes.connection, provider=provider, ids=list(those))
        # The usual case needs no lock.
        touched = [row.account for row in found if not _is_untouched(row, those[row.account])]
        # Locked by one statement, as dispatch does: databases and Python do not agree on the order of names.
        for row in _LOCKED.all(changes.connection, provider=provider, ids=touched) if touched else ():
            _Pace(changes, row).note(those[row.account])


def _is_untouched(row: Account, answers: Sequence[tuple[Asked, Reply]]) -> bool:
    is_well = not row.failures and row.open_until is None
    return is_well and all(answer_of(result) is Answer.CLEAR for _, result in answers)


class _Pace:
    """The pace of one locked account."""

    def __init__(self, changes: Changes, row: Account) -> None:
        self._changes = changes
        self._mine = {"provider": row.provider, "account": row.account}
        #: the row after these answers, and the changes to write
        self._row = row
        self._new: NewPace = {}

    def note(self, answers: Sequence[tuple[Asked, Reply]]) -> None:
        for attempt, result in answers:
            match answer_of(result):
                case Answer.CLEAR:
                    self._close()
                case Answer.TOO_MANY:
                    self._close()
                    self._slow_down(attempt, result)
                case Answer.BLOCKED:
                    self._block(attempt, result)
                case Answer.FAILURE:
                    self._fail(attempt)
        if self._new:
            update_row(self._changes.connection, accounts, self._mine, **self._new)
        now = self._changes.at
        if any(until is not None and until > now for until in (self._row.paused_until, self._row.open_until)):
            recall_waiting(self._changes, self._row.provider, self._row.account)

    def _close(self) -> None:
        if self._row.open_until is not None and not is_paused(self._row, self._changes.at):
            self._changes.event("provider.resumed", **self._mine, reason="probe")
        self._set(**CLOSED)

    def _set(self, **values: Unpack[NewPace]) -> None:
        if any(getattr(self._row, name) != value for name, value in values.items()):
            self._new |= values
            self._row = self._row._replace(**values)

    def _slow_down(self, attempt: Asked, reply: Reply) -> None:
        """Reduce the rate once per pause: other submissions in flight get the same answer."""
        now, row = self._changes.at, self._row
        if row.paused_until is None or row.paused_until <= now:
            self._set(factor=max(SMALLEST, factor_of(row, now) / 2), tokens=0.0, refilled_at=now)
        retry_after = reply.retry_after if isinstance(reply, NotTaken) else None
        self._pause(retry_after or backoff(attempt.number), str(reply))
        self._set(shrunk_at=self._row.paused_until)

    def _block(self, attempt: Asked, reply: Reply) -> None:
        before, now = self._row.paused_until, self._changes.at
        self._pause(BLOCKED_FOR, str(reply), reply.key_mark if isinstance(reply, AccountBlocked) else None)
        # Reported once, not for each submission in flight.
        if before is None or before < now + BLOCKED_FOR / 2:
            facts = {"reason": str(reply), "until": iso(self._row.paused_until)}
            self._changes.event("provider.paused", generation_id=attempt.generation_id, **self._mine, **facts)

    def _pause(self, wait: timedelta, reason: str, key_mark: str | None = None) -> None:
        now, row = self._changes.at, self._row
        if row.paused_until is None or row.paused_until < now + wait:
            # An extended pause keeps its beginning.
            is_paused = row.paused_at is not None and row.paused_until is not None and row.paused_until > now
            paused_at = row.paused_at if is_paused else now
            self._set(paused_until=now + wait, pause_reason=reason, paused_at=paused_at, paused_key=key_mark)

    def _fail(self, attempt: Asked) -> None:
        self._set(failures=self._row.failures + 1)
        row = self._row
        is_closed = row.open_until is None
        # While the breaker is open, only its probe counts: the other submissions were already in flight.
        is_probe = not is_closed and row.probe == attempt.generation_id
        if is_probe or (is_closed and row.failures >= FAILURES):
            until = self._changes.at + open_for(row.openings + 1)
            opened_at = row.opened_at or self._changes.at
            self._set(openings=row.openings + 1, open_until=until, opened_at=opened_at, probe=None)
            whose = {"provider": row.provider, "account": row.account, "failures": row.failures, "until": iso(until)}
            self._changes.event("provider.circuit_opened", generation_id=None, batch_id=None, **whose)


def recall_waiting(changes: Changes, provider: str, account: str) -> None:
    """Put back in line what no worker has claimed yet, so that it may go to another account."""
    ids = changes.connection.execute(_WAIT_FOR_WORKER, {"provider": provider, "to": account}).scalars().all()
    if ids:
        changes.recall(ids)
