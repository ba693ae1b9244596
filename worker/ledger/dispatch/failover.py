"""Moves generations to another provider if they were never sent. Only the caller knows which one can make them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, literal, select, text

from worker.generation import GenerationRequest, Operation, State, iso
from worker.ledger.changes import Changes
from worker.ledger.database import Part, in_bites
from worker.ledger.dispatch.accounts import is_lifted
from worker.ledger.dispatch.pacing import Account
from worker.ledger.restore_guard import is_open
from worker.ledger.schema import (
    ANY_ACCOUNT,
    FAILING_OVER,
    HELD,
    BudgetKind,
    CleanText,
    accounts,
    attempts,
    batches,
    generations,
)
from worker.ledger.statements import IDS, LIMIT, NOW, Query, columns_of
from worker.secrets import SANDBOX_ACCOUNT

#: a pause or an open breaker moves nothing unless it is at least this long
LONG = timedelta(minutes=1)
#: characters of a reason that each moved generation keeps
_LONGEST_REASON = 300


class Candidate(NamedTuple):
    """A queued generation, with what determines its provider. `held`: the `BudgetKind` that has no room for it."""

    id: str
    provider: str
    providers: Sequence[str] | None
    operation: str
    action: str | None
    parent_id: str | None
    prompt: str
    options: Mapping[str, object]
    follow_up: Sequence[str]
    tries: int
    dispatched_at: datetime | None
    held: str | None
    held_prices: str | None
    price: int | None
    message: str | None
    pinned: str
    has_attempts: bool

    @property
    def request(self) -> GenerationRequest:
        return GenerationRequest(
            operation=Operation(self.operation), prompt=self.prompt, options=self.options, action=self.action
        )

    @property
    def is_test(self) -> bool:
        """Return whether only the sandbox may make it."""
        return self.pinned == SANDBOX_ACCOUNT

    @property
    def was_sent(self) -> bool:
        """Return whether anything was, or may have been, submitted for it."""
        return self.tries > 0 or self.has_attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMove:
    """From provider `left` to `to`, which are the same if only `providers`, the remaining choices, change."""

    generation_id: str
    left: str
    to: str
    providers: tuple[str, ...]
    why: str


class _Provider(NamedTuple):
    provider: str


class _Locked(NamedTuple):
    id: str
    provider: str
    provider_changes: Sequence[Mapping[str, str]] | None


_g, _b = generations.c, batches.c
_PROVIDER = bindparam("provider", type_=CleanText())
_AFTER = bindparam("after", type_=CleanText())
_HAS_ATTEMPTS = (
    select(literal(1)).where(attempts.c.generation_id == _g.id).limit(1).scalar_subquery().is_not(None)
).label("has_attempts")
_CANDIDATE = [*(_g[name] for name in Candidate._fields if name != "has_attempts"), _HAS_ATTEMPTS]
# A generation that refers to a task of its parent goes where the parent is. Attempts are looked up as well as counted,
# because a wrong count could mean paying twice.
_NEVER_SENT = (
    _g.tries == 0,
    _g.action.is_(None),
    _g.parent_id.is_(None),
    _g.pinned == ANY_ACCOUNT,
    ~select(literal(1)).where(attempts.c.generation_id == _g.id).exists(),
)
_IS_STOPPED_BY_PERSON = (
    select(literal(1))
    .where(_b.id == _g.batch_id, _b.unfinished_at.is_not(None) | _b.paused_at.is_not(None) | (_b.start_at > NOW))
    .exists()
)
_FAILING_OVER = (
    _g.provider == _PROVIDER,
    _g.id > _AFTER,
    text(FAILING_OVER),
    *_NEVER_SENT,
    # Generations that would not be dispatched now anyway lose nothing by waiting.
    ~_IS_STOPPED_BY_PERSON,
)
_MOVABLE = Query(Candidate, select(*_CANDIDATE).where(*_FAILING_OVER).order_by(_g.id).limit(LIMIT))
_MOVABLE_HELD = Query(
    Candidate,
    select(*_CANDIDATE).where(*_FAILING_OVER, _g.held == BudgetKind.PROVIDER).order_by(_g.id).limit(LIMIT),
)
_QUEUED_OF_BATCH = Query(
    Candidate,
    select(*_CANDIDATE)
    .where(_g.batch_id == bindparam("batch", type_=CleanText()), _g.state == State.QUEUED, _g.id > _AFTER)
    .order_by(_g.id)
    .limit(LIMIT),
)
_NEXT_PROVIDER = Query(
    _Provider,
    select(_g.provider).where(text(FAILING_OVER), _g.provider > _PROVIDER).order_by(_g.provider).limit(1),
)
_ANY_HELD = select(literal(1)).where(text(HELD), _g.provider == _PROVIDER, _g.held == BudgetKind.PROVIDER).limit(1)
_STILL_MOVABLE = Query(
    _Locked,
    select(*columns_of(generations, _Locked))
    .where(_g.id.in_(IDS), _g.state == State.QUEUED, _g.dispatched_at.is_(None), *_NEVER_SENT)
    .order_by(_g.id)
    .with_for_update(skip_locked=True),
)
_ACCOUNTS = Query(Account, select(*columns_of(accounts, Account)).where(accounts.c.provider == _PROVIDER))


class Failover(Part):
    def providers_failing_over(self) -> list[str]:
        """Return the providers with queued generations that may go elsewhere; a few index lookups."""
        found: list[str] = []
        with self._database.read() as connection:
            while (row := _NEXT_PROVIDER.first(connection, provider=found[-1] if found else "")) is not None:
                found.append(row.provider)
        return found

    def stopped_accounts(self, provider: str, key_marks: Mapping[str, str]) -> dict[str, str]:
        """Return the provider's accounts that are closed to submissions for `LONG` or more, each with the reason.

        `key_marks`: of the accounts; a pause that belongs to a different key is over.
        """
        now = self._database.clock()
        with self._database.read() as connection:
            rows = _ACCOUNTS.all(connection, provider=provider)
        stops = {row.account: _stop(row, key_marks.get(row.account), now) for row in rows}
        return {account: why for account, why in stops.items() if why is not None}

    def movable(self, provider: str, after: str, limit: int, *, held: bool = False) -> list[Candidate]:
        """Return this provider's generations that were never sent and may go elsewhere, by id.

        `held`: only those that are held by its daily budget.
        """
        query = _MOVABLE_HELD if held else _MOVABLE
        with self._database.read() as connection:
            if held and connection.execute(_ANY_HELD, {"provider": provider}).first() is None:
                return []
            return query.all(connection, provider=provider, after=after, limit=limit, now=self._database.clock())

    def queued_of_batch(self, batch_id: str, after: str, limit: int) -> list[Candidate]:
        """Return the queued generations of this batch, by id, whether or not they can move."""
        with self._database.read() as connection:
            return _QUEUED_OF_BATCH.all(connection, batch=batch_id, after=after, limit=limit)

    def move(self, moves: Sequence[ProviderMove]) -> set[str]:
        """Move these in several transactions; return the ids of those that were still there and not sent.

        The new provider's prices, budgets and line then apply. Nothing moves while the restore guard has paused
        submissions: a restored ledger may have lost the record of what it sent.
        """
        moved: set[str] = set()
        for some, _ in in_bites(self._database, moves):
            with self._database.write() as connection:
                if not is_open(connection):
                    break
                moved |= _move(connection, some, self._database.clock())
        return moved


def _move(connection: Connection, moves: Sequence[ProviderMove], now: datetime) -> set[str]:
    by_id = {one.generation_id: one for one in moves}
    rows = [row for row in _STILL_MOVABLE.all(connection, ids=sorted(by_id)) if row.provider == by_id[row.id].left]
    changes = Changes(connection, now)
    # This also settles what was reserved, at the old provider, for a generation that was dispatched and recalled.
    changes.lock(row.id for row in rows)
    for row in rows:
        one = by_id[row.id]
        rest = list(one.providers) or None
        if one.to == one.left:
            changes.updates.set(generations, row.id, {"state": State.QUEUED}, {"providers": rest})
            continue
        change = {"left": one.left, "to": one.to, "why": one.why[:_LONGEST_REASON], "at": iso(now)}
        changes.move_to_provider(
            row.id,
            one.to,
            providers=rest,
            provider_changes=[*(row.provider_changes or ()), change],
            **dict.fromkeys(("held", "held_prices", "price", "reason", "message")),
        )
    changes.flush()
    return {row.id for row in rows}


def _stop(row: Account, key_mark: str | None, now: datetime) -> str | None:
    """Return why this account is stopped for `LONG` or more; None if it is not."""
    if row.paused_until is not None and row.paused_until > now and not is_lifted(row, key_mark, now):
        # The whole length, from the beginning: a pause for "too many requests" is over in seconds.
        length: timedelta = row.paused_until - (row.paused_at or now)
        if length >= LONG:
            return f"paused: {row.pause_reason}"
    # Not while a probe tests whether the provider works again, or may do so: it may have been working for hours.
    is_open_now = row.open_until is not None and row.open_until > now and row.probe is None
    if is_open_now and row.opened_at is not None and now - row.opened_at >= LONG:
        return f"circuit open after {row.failures} failures in a row"
    return None
