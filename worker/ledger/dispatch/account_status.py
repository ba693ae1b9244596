"""The status of the providers' accounts, and the account of each attempt."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, text

from worker.errors import CallbackUnreadable
from worker.generation import Outcome, iso
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.dispatch.accounts import (
    CLOSED,
    FULL_RATE,
    NOT_PAUSED,
    is_paused,
    is_stopped,
    locked_accounts,
    note_answers,
    recall_waiting,
)
from worker.ledger.dispatch.pacing import LONGEST_PAUSE, Account, Limits, factor_of, is_slowed, put_right
from worker.ledger.schema import ANY_ACCOUNT, HELD, IN_FLIGHT, WAITING, CleanText, accounts, attempts, generations
from worker.ledger.statements import IDS, Query, columns_of, update_row


class _Attempt(NamedTuple):
    id: str
    generation_id: str
    provider: str
    account: str
    number: int


class _UnderWay(NamedTuple):
    provider: str
    account: str
    number: int


class _AtProvider(NamedTuple):
    provider: str
    number: int


class _Kind(NamedTuple):
    provider: str
    #: the account for which something waits, or the kind of budget that holds something
    value: str


_a, _g = accounts.c, generations.c
_OF_ATTEMPTS = Query(_Attempt, select(*columns_of(attempts, _Attempt)).where(attempts.c.id.in_(IDS)))
_UNDER_WAY = Query(
    _UnderWay,
    select(_g.provider, _g.account, func.count().label("number"))
    .where(text(f"({IN_FLIGHT})"), _g.account.is_not(None))
    .group_by(_g.provider, _g.account),
)
_PROVIDER, _VALUE = bindparam("provider", type_=CleanText()), bindparam("value", type_=CleanText())
_COUNT = select(func.count()).select_from(generations)
_NUMBER_PINNED = _COUNT.where(text(WAITING), _g.provider == _PROVIDER, _g.pinned == _VALUE)
_AT_PROVIDERS = Query(
    _AtProvider,
    select(_g.provider, func.count().label("number")).where(text(f"({IN_FLIGHT})")).group_by(_g.provider),
)
#: conditions for what waits, with the column for its account or budget: many rows, but few kinds
_WAITS = ((WAITING, _g.pinned), (HELD, _g.held))
# Two queries, because comparing both columns at once would make SQLite read all rows of a provider.
_NEXT_KIND = {
    where: [
        Query(
            _Kind,
            select(_g.provider, column.label("value"))
            .where(text(where), *place)
            .order_by(_g.provider, column)
            .limit(1),
        )
        for place in ([_g.provider == _PROVIDER, column > _VALUE], [_g.provider > _PROVIDER])
    ]
    for where, column in _WAITS
}
_ACCOUNTS = select(*columns_of(accounts, Account))
_NUMBER_AT = {where: _COUNT.where(text(where), _g.provider == _PROVIDER) for where, _ in _WAITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowed:
    """The pace of an account. `factor`: the current fraction of its rate.

    `paused_key`: set if the account's key or balance caused the pause; a different key ends it.
    """

    provider: str
    account: str
    factor: float
    failures: int
    paused_until: datetime | None
    reason: str | None
    is_open: bool
    open_until: datetime | None
    paused_at: datetime | None = None
    paused_key: str | None = None
    opened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stranded:
    """The generations of an account: `under_way` there, or `waiting` for that account only."""

    provider: str
    account: str
    under_way: int
    waiting: int


class AccountStatus(Part):
    def throttled_accounts(self) -> list[Slowed]:
        """Return accounts that are paused or throttled, or have an open breaker; times in the past are None."""
        now = self._database.clock()
        return [_status(row, now) for row in self._all() if is_slowed(row, now)]

    def accounts(self) -> list[Slowed]:
        """Return all accounts that were ever used, in the form of `throttled_accounts`."""
        now = self._database.clock()
        return [_status(row, now) for row in self._all()]

    def _all(self) -> list[Account]:
        with self._database.read() as connection:
            return Query(Account, _ACCOUNTS.order_by(_a.provider, _a.account)).all(connection)

    def in_flight(self) -> dict[tuple[str, str], int]:
        """Return how many generations are at each account, or dispatched to it."""
        with self._database.read() as connection:
            return {(row.provider, row.account): row.number for row in _UNDER_WAY.all(connection)}

    def pause_account(self, provider: str, account: str, limits: Limits, by: str) -> datetime:
        """Pause an account for the longest time that a pause may last; return until when.

        Generations that were dispatched to it but not sent wait again, and may go to another account.
        """
        now = self._database.clock()
        until = now + LONGEST_PAUSE
        with self._database.write() as connection:
            (row,) = locked_accounts(connection, provider, {account: None}, limits, now)
            mine = {"provider": provider, "account": account}
            reason = f"paused by {by}"
            since = row.paused_at if is_paused(row, now) else now
            paused = {"paused_until": until, "pause_reason": reason, "paused_at": since, "paused_key": None}
            update_row(connection, accounts, mine, **paused)
            changes = Changes(connection, now)
            if not is_paused(row, now):
                changes.event("provider.paused", **mine, reason=reason, until=iso(until))
            recall_waiting(changes, provider, account)
            changes.flush()
        return until

    def unreachable(self, known: Mapping[str, Collection[str]]) -> list[Stranded]:
        """Count the work of accounts that are not among the `known` ones of their provider."""
        found: dict[tuple[str, str], list[int]] = {}
        with self._database.read() as connection:
            for row in _UNDER_WAY.all(connection):
                found[row.provider, row.account] = [row.number, 0]
            for provider, account in _kinds(connection, WAITING):
                if account != ANY_ACCOUNT and account not in known.get(provider, ()):
                    number = connection.execute(_NUMBER_PINNED, {"provider": provider, "value": account}).scalar_one()
                    found.setdefault((provider, account), [0, 0])[1] = number
        return [
            Stranded(provider, account, *numbers)
            for (provider, account), numbers in sorted(found.items())
            if account not in known.get(provider, ())
        ]

    def open_at_others(self, known: Collection[str]) -> dict[str, int]:
        """Count the generations queued for, or in flight at, each provider that is not `known`."""
        numbers: Counter[str] = Counter()
        with self._database.read() as connection:
            numbers.update({row.provider: row.number for row in _AT_PROVIDERS.all(connection)})
            for where, number_at in _NUMBER_AT.items():
                others = {provider for provider, _ in _kinds(connection, where)} - set(known)
                numbers.update({
                    provider: connection.execute(number_at, {"provider": provider}).scalar_one() for provider in others
                })  # fmt: skip
        return {name: number for name, number in sorted(numbers.items()) if name not in known}

    def accounts_of(self, attempt_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the account of each existing attempt."""
        with self._database.read() as connection:
            return {row.id: row.account for row in _OF_ATTEMPTS.each(connection, attempt_ids)}

    def record_answered(self, replies: Mapping[str, Outcome | CallbackUnreadable]) -> None:
        """Close the breakers of accounts whose reply was an outcome. `replies`: by attempt."""
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, self._database.clock())
            asked = _OF_ATTEMPTS.each(connection, list(replies))
            note_answers(changes, [(attempt, replies[attempt.id]) for attempt in asked])
            changes.flush()

    def resume_account(self, provider: str, account: str | None = None) -> dict[str, datetime | None]:
        """End the pause, open breaker and reduced rate of an account, or of all a provider's; return which had any.

        Also repairs a token bucket that a wrong clock set to the future, and returns until when it would have blocked.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            mine = _ACCOUNTS.where(_a.provider == provider).order_by(_a.account)
            if account is not None:
                mine = mine.where(_a.account == account)
            resumed: dict[str, datetime | None] = {}
            changes = Changes(connection, now)
            for row in Query(Account, mine.with_for_update()).all(connection):
                wrong = put_right(row, now)
                if wrong or is_slowed(row, now):
                    free = wrong | NOT_PAUSED | FULL_RATE | CLOSED
                    update_row(connection, accounts, {"provider": provider, "account": row.account}, **free)
                    resumed[row.account] = row.refilled_at if "refilled_at" in wrong else None
                    if is_stopped(row, now):
                        changes.event("provider.resumed", provider=provider, account=row.account, reason="person")
            changes.flush()
        return resumed


def _kinds(connection: Connection, where: str) -> Iterator[tuple[str, str]]:
    """Yield each provider with each account, or budget, that its work waits for, by skipping through the index."""
    place: _Kind | None = _Kind("", "")
    while place is not None:
        found = (query.first(connection, **place._asdict()) for query in _NEXT_KIND[where])
        if (place := next(filter(None, found), None)) is not None:
            yield place


def _status(row: Account, now: datetime) -> Slowed:
    is_paused = _ahead(row.paused_until, now) is not None
    return Slowed(
        provider=row.provider,
        account=row.account,
        factor=factor_of(row, now),
        failures=row.failures,
        paused_until=_ahead(row.paused_until, now),
        reason=row.pause_reason if is_paused else None,
        is_open=row.open_until is not None,
        open_until=_ahead(row.open_until, now),
        paused_at=row.paused_at if is_paused else None,
        paused_key=row.paused_key if is_paused else None,
        opened_at=row.opened_at,
    )


def _ahead(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment > now else None
