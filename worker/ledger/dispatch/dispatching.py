"""Selects generations to submit, by capacity of accounts, budgets, and fairness between batches."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, text, update

from worker.generation import State
from worker.ledger.batches import FORGOTTEN
from worker.ledger.changes import Changes
from worker.ledger.database import Database
from worker.ledger.dispatch.account_status import AccountStatus
from worker.ledger.dispatch.accounts import locked_accounts
from worker.ledger.dispatch.budgeted import let_some_go, reserve, take_back
from worker.ledger.dispatch.failover import Failover
from worker.ledger.dispatch.line import Line, Rooms, Waiting
from worker.ledger.dispatch.pacing import Account, Limits, room_of, spent
from worker.ledger.flows import find_strays, line_up
from worker.ledger.restore_guard import is_open
from worker.ledger.schema import (
    AWAKE,
    DISPATCHED,
    IN_FLIGHT,
    WAITING,
    CleanText,
    flows,
    generations,
    in_states,
    provider_limits,
)
from worker.ledger.schema import accounts as accounts_table
from worker.ledger.statements import IDS, NOW, Query, insert_ignoring, update_row
from worker.pricing import Prices
from worker.secrets import DEFAULT_ACCOUNT, SANDBOX_ACCOUNT

#: the most that one transaction dispatches: others wait for it, and one statement lists all ids
MOST_AT_ONCE = 1000
#: if more may go, or some do not fit their budgets, one call makes up to this many passes; each pass after the first
#: considers this many more generations
_LOOKS, _FURTHER = 10, 500
#: how often to look for generations that are missing from the queue. Only an earlier version or a process that died
#: leaves any, and the search reads everything that waits, including stopped batches
_STRAYS_EVERY = timedelta(minutes=1)


class _Provider(NamedTuple):
    turn: int
    #: digest of the price file that was used last
    prices: str | None


class _InFlight(NamedTuple):
    account: str | None
    number: int


_g = generations.c
_PROVIDER = bindparam("provider", type_=CleanText())
_TURN = Query(
    _Provider,
    select(provider_limits.c.turn, provider_limits.c.prices)
    .where(provider_limits.c.provider == _PROVIDER)
    .with_for_update(),
)
_IN_FLIGHT = Query(
    _InFlight,
    select(_g.account, func.count().label("number"))
    .where(
        _g.provider == _PROVIDER,
        text(f"({IN_FLIGHT})"),
        (_g.state == State.QUEUED) | (_g.dispatched_at > bindparam("since")),
    )
    .group_by(_g.account),
)
# The probes that are still in progress: one that was cancelled, or whose worker died, reveals nothing.
_PROBES = select(_g.id).where(_g.id.in_(IDS), text(f"({in_states('state', [State.SUBMITTING])} OR ({DISPATCHED}))"))
_PROVIDERS = bindparam("providers", type_=CleanText(), expanding=True)
_WITH_TESTS = (
    select(flows.c.provider)
    .where(flows.c.provider.in_(_PROVIDERS), flows.c.pinned == SANDBOX_ACCOUNT, text(AWAKE))
    .distinct()
)
# Worded as in the partial indexes. Not by flows, which dispatched generations leave for a while.
_OPEN_TESTS = [
    select(_g.id).where(_g.provider.in_(_PROVIDERS), *of_sandbox).limit(1)
    for of_sandbox in (
        (text(WAITING), _g.pinned == SANDBOX_ACCOUNT),
        (text(f"({IN_FLIGHT})"), _g.account == SANDBOX_ACCOUNT),
    )
]
_DISPATCH = (
    update(generations).where(_g.id.in_(IDS)).values(dispatched_at=NOW, not_before=None, account=bindparam("to"))
)


class Dispatch(AccountStatus, Failover):
    """The façade for dispatch, account status, and moves to other providers."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        #: by provider, and whether for tests
        self._strays_sought: dict[tuple[str, bool], datetime] = {}
        self._tests_sought: datetime | None = None

    def run(
        self,
        provider: str,
        limits: Limits,
        prices: Prices | None = None,
        accounts: Collection[str] = (DEFAULT_ACCOUNT,),
        key_marks: Mapping[str, str] = MappingProxyType({}),
    ) -> int:
        """Dispatch as many of this provider's queued generations as accounts and budgets allow; return how many.

        `key_marks`: of the accounts; a pause that belongs to a different key ends here.

        Tokens, capacity, money and selection are one transaction, so that two dispatchers never use the same capacity.
        """
        known = {account: key_marks.get(account) for account in accounts}
        if SANDBOX_ACCOUNT in known:
            raise ValueError("the sandbox is not an account of a provider: use run_tests")
        return self._run(provider, limits, prices, known)

    def run_tests(self, provider: str, limits: Limits, key_mark: str | None = None) -> int:
        """Dispatch this provider's queued tests to the sandbox, and nothing else; return how many.

        They have no price, reserve nothing, and are in no budget.
        """
        return self._run(provider, limits, None, {SANDBOX_ACCOUNT: key_mark})

    def providers_with_tests(self, providers: Sequence[str]) -> list[str]:
        """Return which of these providers have queued tests, in one query; once a minute, return all of them.

        The latter lets `run_tests` find tests that are missing from the queue.
        """
        now = self._database.clock()
        is_seldom = self._tests_sought is None or not timedelta() <= now - self._tests_sought < _STRAYS_EVERY
        if is_seldom:
            self._tests_sought = now
            return list(providers)
        with self._database.read() as connection:
            return list(connection.execute(_WITH_TESTS, {"providers": list(providers)}).scalars())

    def has_open_tests(self, providers: Sequence[str]) -> bool:
        """Return whether a test is queued or in flight for one of these providers; a few index lookups."""
        mine = {"providers": list(providers)}
        with self._database.read() as connection:
            return any(connection.execute(query, mine).first() for query in _OPEN_TESTS)

    def _run(self, provider: str, limits: Limits, prices: Prices | None, known: Mapping[str, str | None]) -> int:
        went = 0
        for look in range(_LOOKS):
            started, has_more, reached = self._dispatch(
                provider, limits, prices, known, further=_FURTHER if look else 0
            )
            went += started
            if not has_more and not self._line_up_strays(provider, reached):
                break
        return went

    def _line_up_strays(self, provider: str, accounts: Sequence[str]) -> bool:
        """Queue generations that are missing from the queue and may go to these accounts; return whether any were.

        Looks at most once per `_STRAYS_EVERY`.
        """
        now = self._database.clock()
        line = provider, SANDBOX_ACCOUNT in accounts
        sought = self._strays_sought.get(line)
        if not accounts or (sought is not None and timedelta() <= now - sought < _STRAYS_EVERY):
            return False
        self._strays_sought[line] = now
        with self._database.read() as connection:
            strays = find_strays(connection, provider, accounts)
        if strays:
            with self._database.write() as connection:
                line_up(connection, strays)
        return bool(strays)

    def _dispatch(
        self, provider: str, limits: Limits, prices: Prices | None, names: Mapping[str, str | None], *, further: int
    ) -> tuple[int, bool, Sequence[str]]:
        """Return how many went, whether another pass may find more, and, if not, the accounts with room left."""
        now = self._database.clock()
        held = 0
        with self._database.write() as connection:
            limit = _locked_turn(connection, provider)
            accounts = locked_accounts(connection, provider, names, limits, now)
            if not is_open(connection):
                return 0, False, ()
            rooms = _rooms(connection, provider, accounts, limits, now)
            most = rooms.total + further
            # Tests have no prices, so they leave alone what budgets hold.
            are_tests = SANDBOX_ACCOUNT in names
            in_use = prices and prices.digest
            are_back = are_tests or prices is not None or limit.prices is None or let_some_go(connection, provider)
            if are_tests or not are_back:
                in_use = limit.prices
            if prices is not None and rooms.total:
                take_back(connection, provider, prices, rooms, now)
            line = Line(connection, provider, limit.turn, rooms, further=further, now=now)
            if prices is not None and rooms.total:
                changes = Changes(connection, now)
                chosen, held = reserve(changes, provider, prices, line, most)
                changes.flush()
            else:
                chosen = _let_go(connection, line, now)
            line.close()
            state = {"turn": line.turn, "prices": in_use}
            if state != {"turn": limit.turn, "prices": limit.prices}:
                update_row(connection, provider_limits, {"provider": provider}, **state)
            _spend(connection, accounts, limits, chosen, now)
            has_more = held > 0 or line.is_cut or not are_back or rooms.are_used_up
            reached = list(rooms.by_pin) if rooms.total and not has_more else []
        return len(chosen), has_more, reached


def _locked_turn(connection: Connection, provider: str) -> _Provider:
    while (row := _TURN.first(connection, provider=provider)) is None:
        connection.execute(insert_ignoring(connection, provider_limits), [{"provider": provider, "turn": 0}])
    return row


def _rooms(connection: Connection, provider: str, accounts: Sequence[Account], limits: Limits, now: datetime) -> Rooms:
    found = _IN_FLIGHT.all(connection, provider=provider, since=now - FORGOTTEN)
    in_flight = {row.account: row.number for row in found}
    ids = [one.probe for one in accounts if one.probe is not None]
    probes = connection.execute(_PROBES, {"ids": ids}).scalars().all() if ids else ()
    return Rooms(
        {
            one.account: room_of(one, limits, in_flight.get(one.account, 0), now, is_probed=one.probe in probes)
            for one in accounts
        },
        MOST_AT_ONCE,
    )


def _let_go(connection: Connection, line: Line, now: datetime) -> list[tuple[Waiting, str]]:
    chosen = []
    going: defaultdict[str, list[str]] = defaultdict(list)
    while (found := line.next()) is not None:
        row, account = found
        line.take(row, account)
        chosen.append(found)
        going[account].append(row.id)
    for account, ids in going.items():
        connection.execute(_DISPATCH, {"ids": ids, "now": now, "to": account})
    return chosen


def _spend(
    connection: Connection,
    accounts: Sequence[Account],
    limits: Limits,
    chosen: Sequence[tuple[Waiting, str]],
    now: datetime,
) -> None:
    for one in accounts:
        ids = [row.id for row, account in chosen if account == one.account]
        if ids:
            mine = {"provider": one.provider, "account": one.account}
            update_row(connection, accounts_table, mine, **spent(one, limits, ids, now))
